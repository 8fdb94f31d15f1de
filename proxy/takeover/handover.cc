#include "proxy/takeover/handover.h"

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

}  // namespace

HandoverMessage to_message(Handover handover) {
  HandoverMessage message;
  message.body["pid"] = handover.pid;
  message.body["process"] = static_cast<bool>(handover.process);
  if (handover.process) message.descriptors.push_back(std::move(handover.process));
  message.body["sockets"] = handover.sockets.size();
  for (OwnedFd& each : handover.sockets) message.descriptors.push_back(std::move(each));
  json::array paths;
  for (const SocketPath& each : handover.paths) paths.push_back(to_json(each));
  message.body["paths"] = std::move(paths);
  return message;
}

Result<Handover> from_message(HandoverMessage message) {
  Handover handover;
  handover.pid = static_cast<std::int64_t>(number_of(message.body, "pid"));
  auto next = message.descriptors.begin();
  const auto left = [&] { return static_cast<std::size_t>(message.descriptors.end() - next); };
  if (flag_of(message.body, "process") && left() > 0) handover.process = std::move(*next++);
  const std::uint64_t sockets = number_of(message.body, "sockets");
  if (sockets != left()) return Error{0, "the peer sent a wrong number of descriptors"};
  for (; next != message.descriptors.end(); ++next) handover.sockets.push_back(std::move(*next));
  for (const json::value& each : array_of(message.body, "paths")) {
    handover.paths.push_back(path_from_json(each));
  }
  return handover;
}

}  // namespace sluice::takeover
