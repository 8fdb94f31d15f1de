#include "proxy/entry/match.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "iolib/wire/bytes.h"
#include "iolib/wire/client_hello.h"
#include "iolib/wire/first_bytes.h"

namespace sluice {
namespace {

// Whether a condition holds; if it takes more bytes to tell, from how many on.
struct Fit {
  enum class State { no, yes, unknown };
  State state = State::no;
  std::size_t needs = 0;
};
using State = Fit::State;

Fit known(bool holds) { return {holds ? State::yes : State::no}; }

// `name` is that of a host, `pattern` too, or "*." and one.
bool name_fits(std::string_view name, std::string_view pattern) {
  if (!pattern.starts_with("*.")) return name == pattern;
  pattern.remove_prefix(1);
  return name.size() > pattern.size() && name.ends_with(pattern);
}

/// Looks at the first bytes for one condition after the other; a hello is parsed once.
class Looks {
 public:
  explicit Looks(const FirstBytes& first) : first_(first) {}

  [[nodiscard]] Fit fits(const RouteMatch& match) {
    Fit all = known(true);
    for (const Fit each : {source(match), protocol(match), prefix(match), hello(match)}) {
      if (each.state == State::no) return each;
      if (each.state == State::unknown) {
        all = {State::unknown, all.needs == 0 ? each.needs : std::min(all.needs, each.needs)};
      }
    }
    return all;
  }
  [[nodiscard]] std::string server_name() const { return hello_ ? hello_->server_name : ""; }

 private:
  [[nodiscard]] Fit needs(std::size_t total) const {
    return first_.is_all ? known(false) : Fit{State::unknown, total};
  }
  [[nodiscard]] Fit source(const RouteMatch& match) const {
    return known(match.source.empty() || std::ranges::any_of(match.source, [&](const Prefix& each) {
                   return each.contains(first_.client);
                 }));
  }
  [[nodiscard]] Fit protocol(const RouteMatch& match) const {
    if (match.protocol.empty()) return known(true);
    const auto found = wire::protocol_of(first_.seen);
    if (const auto* more = std::get_if<wire::NeedsBytes>(&found)) return needs(more->total);
    return known(std::ranges::find(match.protocol, std::get<wire::Protocol>(found)) !=
                 match.protocol.end());
  }
  [[nodiscard]] Fit prefix(const RouteMatch& match) const {
    if (match.prefix.empty()) return known(true);
    const std::string_view seen = wire::as_text(first_.seen);
    bool may_fit = false;
    for (const std::string& each : match.prefix) {
      if (seen.starts_with(each)) return known(true);
      may_fit = may_fit || each.starts_with(seen);
    }
    return may_fit ? needs(seen.size() + 1) : known(false);
  }
  [[nodiscard]] Fit hello(const RouteMatch& match) {
    if (!match.reads_hello()) return known(true);
    if (!looked_) {
      looked_ = true;
      auto parsed = wire::parse_client_hello(first_.seen);
      if (const auto* more = std::get_if<wire::NeedsBytes>(&parsed)) hello_needs_ = more->total;
      if (auto* hello = std::get_if<wire::ClientHello>(&parsed)) hello_ = std::move(*hello);
    }
    if (hello_needs_ > 0) return needs(hello_needs_);
    if (!hello_) return known(false);
    const bool name = match.sni.empty() || std::ranges::any_of(match.sni, [&](const auto& each) {
                        return name_fits(hello_->server_name, each);
                      });
    const bool protocol =
        match.alpn.empty() || std::ranges::any_of(match.alpn, [&](const auto& each) {
          return std::ranges::find(hello_->protocols, each) != hello_->protocols.end();
        });
    return known(name && protocol);
  }

  const FirstBytes& first_;
  bool looked_ = false;
  std::size_t hello_needs_ = 0;
  std::optional<wire::ClientHello> hello_;
};

}  // namespace

std::variant<wire::NeedsBytes, Choice> choose(const std::vector<RouteMatch>& matches,
                                              const FirstBytes& first) {
  Looks looks(first);
  for (std::size_t index = 0; index < matches.size(); ++index) {
    const Fit fits = looks.fits(matches[index]);
    if (fits.state == State::unknown) return wire::NeedsBytes{fits.needs};
    if (fits.state == State::yes) return Choice{index, looks.server_name()};
  }
  return Choice{std::nullopt, looks.server_name()};
}

}  // namespace sluice
