#include "tests/system/reload_model.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tests/support/daemon.h"

namespace sluice::test {
namespace {

constexpr std::array kNames{"alpha", "beta", "gamma", "delta", "epsilon", "zeta"};
constexpr std::size_t kPorts = 5;
/// Captures and mirrors come and go, too.
constexpr bool kTaps = true;
constexpr std::size_t kCaptures = 2;
constexpr std::size_t kMirror = ConfigDraw::kServers - 1;

bool one_in(std::uint64_t n, std::mt19937_64& random) { return random() % n == 0; }

template <std::size_t kCount>
std::string any_of(const std::array<const char*, kCount>& values, std::mt19937_64& random) {
  return values[random() % kCount];
}

std::string line(const std::string& key, const std::string& value) {
  return key + " = \"" + value + "\"\n";
}

// What connections see nothing of.
std::string other_keys(std::mt19937_64& random) {
  constexpr std::array kBalance{"two-choices", "least-connections", "round-robin", "source-hash"};
  constexpr std::array kZeroCopy{"auto", "never", "always"};
  constexpr std::array kTimes{"1h", "2h", "3h"};
  std::string text;
  if (one_in(2, random)) text += line("balance", any_of(kBalance, random));
  if (one_in(3, random)) text += line("zero-copy", any_of(kZeroCopy, random));
  if (one_in(3, random)) text += line("idle-timeout", any_of(kTimes, random));
  if (one_in(4, random)) text += line("health", "tcp");
  if (one_in(6, random)) text += "retries = 2\n";
  return text;
}

}  // namespace

ConfigDraw::ConfigDraw(const EchoServers& servers, std::string folder)
    : servers_(servers), folder_(std::move(folder)) {
  while (ports_.size() < kPorts) {
    const std::uint16_t port = free_port();
    if (std::ranges::find(ports_, port) == ports_.end()) ports_.push_back(port);
  }
}

std::string ConfigDraw::route(std::size_t name, const std::vector<std::uint16_t>& listen,
                              const std::set<std::size_t>& servers, DrawnConfig& drawn,
                              std::mt19937_64& random) const {
  std::string text = "[[route]]\n" + line("name", kNames.at(name)) + "listen = [";
  for (const std::uint16_t port : listen) {
    text += '"' + loopback_address(port) + "\", ";
    drawn.meaning[port] = servers;
  }
  text += "]\nto = [";
  for (const std::size_t server : servers) {
    text += "{ address = \"" + servers_.address(server) +
            "\", weight = " + std::to_string(1 + random() % 3) + " }, ";
  }
  text += "]\n" + other_keys(random);
  if (kTaps && one_in(3, random)) {
    const std::string directory = folder_ + "/capture" + std::to_string(random() % kCaptures);
    drawn.captures.insert(directory);
    text += line("capture", directory);
    if (one_in(4, random)) text += "capture-enabled = false\n";
  }
  if (kTaps && one_in(4, random)) text += line("mirror", servers_.address(kMirror));
  return text;
}

DrawnConfig ConfigDraw::valid(std::mt19937_64& random) const {
  DrawnConfig drawn;
  std::array<std::size_t, kNames.size()> names{};
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = i;
  std::ranges::shuffle(names, random);
  std::vector<std::uint16_t> ports = ports_;
  std::ranges::shuffle(ports, random);
  // At least one address is there, and often one is missing.
  ports.resize(1 + random() % kPorts);
  std::size_t used = 0;
  while (!ports.empty()) {
    const std::size_t count = 1 + random() % std::min<std::size_t>(2, ports.size());
    const std::vector<std::uint16_t> listen(ports.end() - static_cast<std::ptrdiff_t>(count),
                                            ports.end());
    ports.resize(ports.size() - count);
    std::set<std::size_t> servers;
    const std::size_t wanted = 1 + random() % 3;
    while (servers.size() < wanted) servers.insert(random() % kMirror);
    drawn.routes += route(names.at(used++), listen, servers, drawn, random);
  }
  return drawn;
}

std::string ConfigDraw::bad(const DrawnConfig& current, std::mt19937_64& random) const {
  const std::string extra = "[[route]]\nname = \"extra\"\nto = \"echo:\"\n";
  switch (random() % (kTaps ? 6 : 5)) {
    case 0:
      return current.routes + "[[route]\n";
    case 1:
      return current.routes + extra + "listne = \":1\"\n";
    case 2:
      return current.routes + extra + line("listen", loopback_address(taken_.port));
    case 3:
      return current.routes + extra +
             line("listen", loopback_address(current.meaning.begin()->first));
    case 4:
      return "";
    default:
      return current.routes + extra + line("listen", "127.0.0.1:0") +
             line("capture", "/dev/null/x");
  }
}

void ReloadModel::begin(Meaning next, bool breaks) {
  const std::lock_guard lock(mutex_);
  meanings_.push_back({std::move(next), breaks});
}

void ReloadModel::end(bool applied) {
  const std::lock_guard lock(mutex_);
  // One that never held leaves its place to the one before, so that numbers go on.
  if (!applied) meanings_.back() = meanings_[holds_];
  holds_ = meanings_.size() - 1;
}

ReloadModel::Range ReloadModel::now() const {
  const std::lock_guard lock(mutex_);
  return {holds_, meanings_.size() - 1};
}

bool ReloadModel::may_break(Range range) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(meanings_.begin() + static_cast<std::ptrdiff_t>(range.first),
                     meanings_.begin() + static_cast<std::ptrdiff_t>(range.last) + 1,
                     [](const Possible& each) { return each.breaks; });
}

std::string ReloadModel::check(std::uint16_t port, std::mt19937_64& random, const Keep& keep) {
  const std::size_t first = now().first;
  Attempt seen = attempt(port, random, static_cast<bool>(keep));
  const Range range{first, now().last};
  const std::string wrong = judge(port, seen, range);
  counts_.add(seen.fate);
  if (seen.fd && keep && !may_break(range)) keep(std::move(seen.fd));
  return wrong;
}

std::string ReloadModel::judge(std::uint16_t port, const Attempt& seen, Range range) const {
  const bool breaks = may_break(range);
  const std::lock_guard lock(mutex_);
  bool listens = false, refuses = false, leads_there = false;
  for (std::size_t i = range.first; i <= range.last; ++i) {
    const Meaning& meaning = meanings_[i].meaning;
    const auto found = meaning.find(port);
    listens = listens || found != meaning.end();
    refuses = refuses || found == meaning.end();
    leads_there = leads_there || (found != meaning.end() && found->second.contains(seen.server));
  }
  using Fate = Attempt::Fate;
  const bool fits = seen.fate == Fate::served    ? leads_there
                    : seen.fate == Fate::refused ? refuses
                    // A client that comes just as its address goes, or whose process is killed.
                    : seen.fate == Fate::reset ? (refuses || breaks) && listens
                                               : false;
  if (fits) return {};
  std::string expected;
  for (std::size_t i = range.first - std::min<std::size_t>(2, range.first); i <= range.last; ++i) {
    expected += (i == range.first ? " |" : "") + std::string(" {");
    const Meaning& meaning = meanings_[i].meaning;
    if (const auto found = meaning.find(port); found == meaning.end()) {
      expected += " refuses";
    } else {
      for (const std::size_t server : found->second) expected += ' ' + std::to_string(server);
    }
    expected += meanings_[i].breaks ? " breaks }" : " }";
  }
  // The bar stands before the first that could hold.
  return "port " + std::to_string(port) + ": " + name_of(seen.fate) + " by server " +
         std::to_string(seen.server) + ", expected" + expected;
}

}  // namespace sluice::test
