#include "proxy/takeover/successor.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "iolib/base/shortage.h"
#include "proxy/log/log.h"

namespace sluice::takeover {
namespace {

// How long a message to the other process may take.
constexpr Duration kOtherAnswerTime = std::chrono::seconds(10);
// Beyond the time that it allows for the whole takeover: then it hangs.
constexpr Duration kPatience = std::chrono::seconds(40);
// Between a process's close of the link, as it dies, and its end.
constexpr Duration kDeathTime = std::chrono::seconds(2);

Result<OwnedFd> connect_to(const std::string& path) {
  const Endpoint endpoint = make_endpoint(UnixEndpoint{path});
  Result<OwnedFd> fd = open_socket(endpoint, false);
  if (fd.has_error()) return fd;
  while (true) {
    const int outcome = begin_connect(fd->get(), endpoint);
    if (outcome == 0) return fd;
    if (outcome != EAGAIN) return Error{outcome, "takeover: connect " + endpoint.text};
    wait_for({}, Clock::now() + kBacklogPause);
  }
}

// Somebody else could have put a socket there. Root may take over from any user.
Result<> check_listener(int socket) {
  const Result<Peer> peer = peer_of(socket);
  if (peer.has_error()) return peer.error();
  if (::geteuid() == 0 || peer->uid == 0 || peer->uid == ::geteuid()) return {};
  return Error{0, "takeover: user " + std::to_string(peer->uid) +
                      " listens there, who is neither root nor this user"};
}

Error explained(const Error& error) {
  if (error.code == ECONNRESET) return Error{0, "takeover: the running process closed the link"};
  if (error.code == ETIMEDOUT) return Error{0, "takeover: the running process does not answer"};
  if (error.code == ECANCELED) return Error{0, "takeover: the new process ends"};
  return Error{error.code, "takeover: " + error.context};
}

Error refusal_or_fault(const Message& message) {
  if (message.type == MessageType::refused) {
    return Error{0, "takeover: refused: " + text_of(message.body, "reason")};
  }
  return Error{0, "takeover: the running process sent " + std::string(name_of(message.type)) +
                      " out of turn"};
}

Result<json::object> body_of_released(Message message) {
  if (message.type != MessageType::released) return refusal_or_fault(message);
  return std::move(message.body);
}

}  // namespace

Result<Handover> Successor::ask(const std::string& path) {
  Result<OwnedFd> socket = connect_to(path);
  if (socket.has_error()) return socket.error();
  if (Result<> known = check_listener(socket->get()); known.has_error()) return known.error();
  Link link(*std::move(socket), wait_or_stop(stop_));
  // Whether it was sent shows in the answer.
  static_cast<void>(link.send(
      {MessageType::hello, {{"version", kWireVersion}, {"pid", std::int64_t{::getpid()}}}},
      Clock::now() + kOtherAnswerTime));
  HandoverMessage message;
  while (true) {
    Result<Link::Received> received = link.receive(kLongestState, Clock::now() + kPatience);
    if (received.has_error()) return explained(received.error());
    const MessageType type = received->message.type;
    if (type != MessageType::descriptors && type != MessageType::state) {
      return refusal_or_fault(received->message);
    }
    for (OwnedFd& each : received->descriptors) message.descriptors.push_back(std::move(each));
    if (type == MessageType::descriptors) continue;
    message.body = std::move(received->message.body);
    break;
  }
  Result<Handover> handover = from_message(std::move(message));
  if (handover.has_error()) return explained(handover.error());
  process_ = std::move(handover->process);
  link_ = std::move(link);
  return handover;
}

Result<json::object> Successor::await_go(const std::vector<std::string>& runs) {
  Result<> sent = link_.send({MessageType::ready, {{"runs", json::value_from(runs)}}},
                             Clock::now() + kOtherAnswerTime);
  Result<Link::Received> received = link_.receive(kLongestState, Clock::now() + kPatience);
  if (received.has_error()) {
    if (other_has_died(received.error())) return json::object{};
    return explained(received.error());
  }
  if (received->message.type != MessageType::go) return refusal_or_fault(received->message);
  return std::move(received->message.body);
}

void Successor::fail(const Error& why) {
  if (!pending()) return;
  static_cast<void>(link_.send(with_reason(MessageType::failed, why.to_string()),
                               Clock::now() + std::chrono::seconds(1)));
  link_ = {};
}

void Successor::settle(Hooks hooks) {
  hooks_ = std::move(hooks);
  const Result<> started = or_shortage([this]() -> Result<> {
    thread_ = start_thread([this] {
      pthread_setname_np(pthread_self(), "successor");
      run();
    });
    return {};
  });
  if (started.has_error()) lose(started.error());
}

void Successor::end() {
  stop_.stop();
  if (thread_.joinable()) thread_.join();
}

void Successor::run() {
  Result<json::object> released = live_and_confirm();
  if (released.has_value()) return hooks_.settled(*std::move(released), std::move(link_));
  if (other_has_died(released.error())) return hooks_.settled({}, {});
  lose(explained(released.error()));
}

void Successor::lose(const Error& why) {
  hooks_.lost(why);
  fail(why);
}

// Until the other process has let go. It says nothing before `done`, unless it gives up, or lets go
// since it ends.
Result<json::object> Successor::live_and_confirm() {
  const TimePoint alive = Clock::now() + times_.life;
  if (!hooks_.answers()) return Error{0, "a worker of the new process does not answer"};
  Result<Link::Received> received = link_.receive(kLongestState, alive);
  if (received.has_value()) return body_of_released(std::move(received->message));
  if (received.error().code != ETIMEDOUT) return received.error();
  if (!hooks_.answers()) return Error{0, "a worker of the new process does not answer"};
  // What has begun the end did so before the control thread answered.
  if (stop_.stopped()) return Error{ECANCELED, "takeover link"};
  Result<> sent = link_.send({MessageType::done}, Clock::now() + kOtherAnswerTime);
  return await_released();
}

// A process that was stopped reads `done` whenever it goes on, and then lets go. So only its word,
// or its end, ends the wait: if this process gave up, nobody would serve.
Result<json::object> Successor::await_released() {
  const Result<> answered = wait_or_stop(stop_)(link_.fd(), POLLIN, Clock::now() + times_.silence);
  if (answered.has_error() && answered.error().code == ETIMEDOUT) {
    log::warn("takeover_unanswered", {{"reason", "the running process does not answer"}});
  }
  Result<Link::Received> received = link_.receive(kLongestState, TimePoint::max());
  if (received.has_error()) return received.error();
  return body_of_released(std::move(received->message));
}

// Only the end of the process leaves this one alone with the sockets.
bool Successor::other_has_died(const Error& error) const {
  return error.code == ECONNRESET && has_ended(process_, Clock::now() + kDeathTime);
}

void report_failure(const std::string& path, const std::string& reason) {
  Result<OwnedFd> socket = connect_to(path);
  if (socket.has_error()) return;
  const StopSignal never;
  Link link(*std::move(socket), wait_or_stop(never));
  static_cast<void>(link.send(
      with_reason(MessageType::failed, reason.substr(0, reason.find_last_not_of('\n') + 1)),
      Clock::now() + std::chrono::seconds(1)));
}

}  // namespace sluice::takeover
