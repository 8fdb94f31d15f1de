#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/capture/capture_set.h"
#include "tools/capture/commands.h"
#include "tools/capture/export_frames.h"
#include "tools/capture/findings.h"
#include "tools/capture/keylog.h"
#include "tools/capture/out_stream.h"
#include "tools/capture/pcapng.h"
#include "tools/capture/printer.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

// RFC 4648, section 4.
void append_base64(std::span<const std::byte> bytes, std::string& to) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto at = [&](std::size_t i) {
    return i < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i]) : 0;
  };
  const std::size_t begin = to.size();
  to.resize(begin + (bytes.size() + 2) / 3 * 4, '=');
  char* digit = to.data() + begin;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::uint32_t group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    const std::size_t digits = std::min<std::size_t>(bytes.size() - i, 3) + 1;
    for (std::size_t d = 0; d < digits; ++d) digit[d] = kDigits[group >> (18 - 6 * d) & 63];
    digit += 4;
  }
}

// Exports each record of one chain as a line.
class LineExport {
 public:
  LineExport(const Invocation& invocation, OutStream& out) : invocation_(invocation), out_(out) {}

  Result<> take(const Event& event, const At& at) {
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    const Connection* connection = *taken;
    if (connection == nullptr) return {};
    if (event.type == Event::Type::finding) {
      write_lost(event.finding, *connection);
    } else if (passes(invocation_, event, *connection)) {
      std::string line = json::serialize(to_json(event, *connection));
      if (event.header.is(Kind::data)) {
        line.back() = ',';
        line += "\"data\":\"";
        append_base64(event.fresh(), line);
        line += "\"}";
      }
      line += '\n';
      out_.append(line);
    }
    if (connection->closed) table_.forget(*connection, at);
    return {};
  }
  void finish() {}

 private:
  // No record describes a loss, so its line has no time.
  void write_lost(const Finding& finding, const Connection& connection) {
    if (invocation_.side && *invocation_.side != finding.side) return;
    if (!invocation_.filter.takes(connection.info)) return;
    const json::object object{{"connection", valid_utf8(connection.info.id)},
                              {"kind", "gap"},
                              {"side", kSideNames[static_cast<std::size_t>(finding.side)]},
                              {"offset", finding.stream_offset},
                              {"bytes", finding.bytes},
                              {"reason", reason_name(0)}};
    out_.append(json::serialize(object) + '\n');
  }

  const Invocation& invocation_;
  OutStream& out_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
};

// Exports each chain with its own exporter, which `make` creates.
template <class Exporter, class Make>
Result<int> export_all(const Invocation& invocation, OutStream& out, const Make& make) {
  std::unordered_map<std::size_t, std::unique_ptr<Exporter>> exporters;
  bool any = false;
  const auto visit = [&](const Event& event, const At& at) -> Result<bool> {
    std::unique_ptr<Exporter>& exporter = exporters[at.chain_index];
    if (!exporter) exporter = make(at.chain);
    if (event.type == Event::Type::end) {
      exporter->finish();
      exporters.erase(at.chain_index);
      return go_on();
    }
    const std::uint64_t before = out.bytes();
    const Result<> done = exporter->take(event, at);
    any = any || out.bytes() > before;
    const Result<> written = out.status();
    if (!done || !written) return !done ? done.error() : written.error();
    return go_on();
  };
  const Result<int> status = walk_and_tell(invocation, visit, walk_by_time);
  // An error, such as an unknown connection, before anything was exported: the file must not stay,
  // because it would make the next attempt fail.
  if (!status && !any) return status;
  // Everything that could be read stays in the file, also after an error.
  const Result<> finished = out.finish();
  if (status && !finished) return finished.error();
  return status;
}

}  // namespace

Result<int> run_export(const Invocation& invocation) {
  const bool frames = !invocation.pcapng.empty();
  const std::string& path = frames ? invocation.pcapng : invocation.jsonl;
  if (frames && path == "-" && ::isatty(STDOUT_FILENO) == 1) {
    return Error{0, "--pcapng -: stdout is a terminal, expected a pipe or a file"};
  }
  // Check the capture before creating the file, which would make the next attempt fail.
  if (const Result<std::vector<Chain>> found = list_capture(invocation.paths); !found) {
    return found.error();
  }
  std::string secrets;
  if (!invocation.keylog.empty()) {
    Result<std::string> read = read_keylog(invocation.keylog);
    if (!read) return read.error();
    secrets = *std::move(read);
  }
  Result<std::unique_ptr<OutStream>> out = OutStream::open(path);
  if (!out) return out.error();
  if (!frames) {
    return export_all<LineExport>(invocation, **out, [&](const Chain& /*chain*/) {
      return std::make_unique<LineExport>(invocation, **out);
    });
  }
  PcapngWriter writer(**out);
  if (!secrets.empty()) writer.write_secrets(secrets);
  PeerNames names;
  return export_all<FrameExport>(invocation, **out, [&](const Chain& chain) {
    return std::make_unique<FrameExport>(invocation, chain, names, writer);
  });
}

}  // namespace sluice::capture
