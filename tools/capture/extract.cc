#include <array>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/capture/out_directory.h"
#include "tools/capture/out_files.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

constexpr const char* kIndexName = "index.json";

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// A safe file name, whatever the capture contains: no separator and no leading dot.
std::string sanitized(const std::string& id) {
  constexpr std::size_t kMostBytes = 120;
  std::string name;
  for (const char c : id.substr(0, kMostBytes)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || (c == '.' && !name.empty());
    name += plain ? c : '_';
  }
  return name.empty() ? "_" : name;
}

class Extract {
 public:
  explicit Extract(int directory) : files_(directory) {}

  Result<bool> take(const Event& event, const At& at) {
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    const Connection* connection = *taken;
    if (connection == nullptr) return go_on();
    if (event.type != Event::Type::record || !event.header.is(Kind::data)) return go_on();
    const Result<> written =
        files_.append(file_of(*connection, event.header.side()), event.fresh());
    return written ? go_on() : Result<bool>(written.error());
  }

  Result<> finish() {
    OutFiles::File& file = files_.add(kIndexName);
    std::string index = "{\"connections\":[";
    const char* separator = "\n";
    for (const Connection& connection : table_.all()) {
      json::object object = connection.to_json();
      for (const Side side : {Side::client, Side::upstream}) {
        const auto i = static_cast<std::size_t>(side);
        if (connection.sides[i].recorded_bytes == 0) continue;
        object[std::string(kSideNames[i]) + "_file"] = OutFiles::name(file_of(connection, side));
      }
      index += separator + json::serialize(object);
      separator = ",\n";
      const Result<> written = files_.append(file, bytes_of(index));
      if (!written) return written.error();
      index.clear();
    }
    const Result<> written = files_.append(file, bytes_of(index + "]}\n"));
    return written ? files_.finish() : written;
  }

 private:
  struct Files {
    std::string stem;
    std::array<OutFiles::File*, 2> sides{};  // by Side
  };

  OutFiles::File& file_of(const Connection& connection, Side side) {
    // Usually the same connection as for the previous record.
    if (&connection != last_) {
      last_ = &connection;
      last_files_ = &by_connection_[&connection];
    }
    const auto i = static_cast<std::size_t>(side);
    OutFiles::File*& file = last_files_->sides[i];
    if (file == nullptr) {
      std::string& stem = last_files_->stem;
      if (stem.empty()) stem = stem_of(connection);
      file = &files_.add(stem + '.' + std::string(kSideNames[i]));
    }
    return *file;
  }

  // No sanitized name contains a "~".
  std::string stem_of(const Connection& connection) {
    std::string stem = sanitized(connection.info.id);
    const std::uint64_t again = ++taken_[stem];
    return again > 1 ? stem + '~' + std::to_string(again) : stem;
  }

  OutFiles files_;
  ConnectionTable table_{ConnectionTable::Keeps::all};
  std::unordered_map<const Connection*, Files> by_connection_;
  const Connection* last_ = nullptr;
  Files* last_files_ = nullptr;
  std::unordered_map<std::string, std::uint64_t> taken_;
};

}  // namespace

Result<int> run_extract(const Invocation& invocation) {
  const Result<OwnedFd> directory = open_out_directory(invocation.out);
  if (!directory) return directory.error();
  Extract extract(directory->get());
  const Result<int> walked = walk_and_tell(
      invocation, [&](const Event& event, const At& at) { return extract.take(event, at); });
  if (!walked) return walked.error();
  if (const Result<> finished = extract.finish(); !finished) return finished.error();
  return walked;
}

}  // namespace sluice::capture
