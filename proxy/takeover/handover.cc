#include "proxy/takeover/handover.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "proxy/takeover/wire.h"

namespace sluice::takeover {
namespace {

json::object to_json(const SocketPath& path) {
  json::object object{{"path", path.path}};
  if (!path.socket) return object;
  object["device"] = std::uint64_t{path.socket->device};
  object["inode"] = std::uint64_t{path.socket->inode};
  return object;
}

SocketPath path_from_json(const json::value& value) {
  if (!value.is_object()) return {};
  const json::object& object = value.get_object();
  return {text_of(object, "path"),
          FileIdentity{number_of(object, "device"), number_of(object, "inode")}};
}

// The links and processes go among the descriptors.
json::object to_json(Ancestors& ancestors, std::vector<OwnedFd>& descriptors) {
  json::array living;
  for (Living& each : ancestors.living) {
    json::array runs;
    for (const std::string& run : each.runs) runs.emplace_back(json_view(run));
    living.push_back(json::object{{"pid", each.pid},
                                  {"connections", each.connections},
                                  {"totals", to_json(each.totals)},
                                  {"held", to_json(each.held)},
                                  {"runs", std::move(runs)},
                                  {"link", static_cast<bool>(each.link)},
                                  {"process", static_cast<bool>(each.process)}});
    if (each.link) descriptors.push_back(std::move(each.link));
    if (each.process) descriptors.push_back(std::move(each.process));
  }
  return {{"living", std::move(living)}, {"ended", to_json(ancestors.ended)}};
}

// Takes descriptors from the front of a list.
class Descriptors {
 public:
  explicit Descriptors(std::vector<OwnedFd> list) : list_(std::move(list)) {}
  [[nodiscard]] std::size_t left() const { return list_.size() - next_; }
  // None if `wanted` is false, or none is left.
  [[nodiscard]] OwnedFd take(bool wanted = true) {
    if (!wanted) return {};
    missed_ = missed_ || left() == 0;
    return missed_ ? OwnedFd() : std::move(list_[next_++]);
  }
  // Whether some are missing, or too many.
  [[nodiscard]] bool wrong() const { return missed_ || left() > 0; }

 private:
  std::vector<OwnedFd> list_;
  std::size_t next_ = 0;
  bool missed_ = false;
};

Ancestors ancestors_from_json(const json::object& object, Descriptors& descriptors) {
  Ancestors ancestors;
  ancestors.ended = totals_from_json(object_of(object, "ended"));
  for (const json::value& value : array_of(object, "living")) {
    if (!value.is_object()) continue;
    const json::object& each = value.get_object();
    Living& living = ancestors.living.emplace_back();
    living.pid = static_cast<std::int64_t>(number_of(each, "pid"));
    living.connections = number_of(each, "connections");
    living.totals = totals_from_json(object_of(each, "totals"));
    living.held = totals_from_json(object_of(each, "held"));
    living.runs = texts_of(each, "runs");
    living.link = descriptors.take(flag_of(each, "link"));
    living.process = descriptors.take(flag_of(each, "process"));
  }
  return ancestors;
}

}  // namespace

HandoverMessage to_message(Handover handover) {
  HandoverMessage message;
  message.body["captures"] = to_json(handover.captures);
  for (HandedCaptures::Lock& each : handover.captures.locks) {
    message.descriptors.push_back(std::move(each.lock));
  }
  message.body["runs"] = json::value_from(handover.runs);
  message.body["pid"] = handover.pid;
  message.body["process"] = static_cast<bool>(handover.process);
  if (handover.process) message.descriptors.push_back(std::move(handover.process));
  message.body["sockets"] = handover.sockets.size();
  for (OwnedFd& each : handover.sockets) message.descriptors.push_back(std::move(each));
  json::array paths;
  for (const SocketPath& each : handover.paths) paths.push_back(to_json(each));
  message.body["paths"] = std::move(paths);
  message.body["ancestors"] = to_json(handover.ancestors, message.descriptors);
  message.body["runtime"] = std::move(handover.runtime);
  return message;
}

Result<Handover> from_message(HandoverMessage message) {
  Handover handover;
  Result<HandedCaptures> captures =
      captures_from_json(object_of(message.body, "captures"), message.descriptors);
  if (captures.has_error()) return captures.error();
  handover.captures = *std::move(captures);
  handover.runs = texts_of(message.body, "runs");
  Descriptors descriptors(std::move(message.descriptors));
  handover.pid = static_cast<std::int64_t>(number_of(message.body, "pid"));
  handover.process = descriptors.take(flag_of(message.body, "process"));
  const std::uint64_t sockets =
      std::min<std::uint64_t>(number_of(message.body, "sockets"), descriptors.left() + 1);
  for (std::uint64_t i = 0; i < sockets; ++i) handover.sockets.push_back(descriptors.take());
  for (const json::value& each : array_of(message.body, "paths")) {
    handover.paths.push_back(path_from_json(each));
  }
  handover.ancestors = ancestors_from_json(object_of(message.body, "ancestors"), descriptors);
  handover.runtime = object_of(message.body, "runtime");
  if (descriptors.wrong()) return Error{0, "the peer sent a wrong number of descriptors"};
  return handover;
}

}  // namespace sluice::takeover
