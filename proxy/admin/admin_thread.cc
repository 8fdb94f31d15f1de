#include "proxy/admin/admin_thread.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "iolib/base/endpoint.h"
#include "iolib/base/shortage.h"
#include "proxy/admin/token.h"

namespace sluice::admin {
namespace {

bool is_loopback(const SocketAddress& address) {
  const std::span<const std::byte> bytes = address.host_bytes();
  constexpr std::byte kLoopbackNet{127};  // 127.0.0.0/8
  if (address.family() == AF_INET) return bytes.front() == kLoopbackNet;
  in6_addr v6{};
  if (bytes.size() != sizeof v6) return false;
  std::memcpy(&v6, bytes.data(), sizeof v6);
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

Peer peer_of(const ListenSocket& socket) {
  if (socket.unix_address) return Peer::unix_socket;
  return is_loopback(local_name(socket.fd.get())) ? Peer::loopback : Peer::remote;
}

Result<std::string> token_of(const Config& config) {
  return config.admin_token_file.empty() ? Result<std::string>(std::string())
                                         : read_token(config.admin_token_file);
}

}  // namespace

Result<> AdminThread::start(InheritedSockets& inherited, bool accepts) {
  if (config_.admin.empty()) return {};
  Result<std::string> token = token_of(config_);
  if (token.has_error()) return token.error();
  Result<ListenSockets> listeners = open_admin_listeners(config_, inherited);
  if (listeners.has_error()) return listeners.error();
  server_ = std::make_unique<HttpServer>([this](HttpRequest request, HttpServer::Reply reply) {
    endpoints_->answer(std::move(request), std::move(reply));
  });
  endpoints_ = std::make_unique<Endpoints>(
      GuardRules{config_.admin_hosts, *std::move(token)}, source_, commands_,
      Endpoints::Hooks{[this](Rejection why) { return server_->rejected(why); },
                       [this](std::function<void()> task) { server_->post(std::move(task)); }});
  server_->repeat(std::chrono::seconds(1), [this] { endpoints_->sample(); });

  const std::lock_guard lock(mutex_);
  if (ended_) return {};
  listeners_ = std::move(*listeners);
  if (Result<> listening = listeners_.listen({}); listening.has_error()) return listening;
  for (ListenSocket& socket : std::exchange(listeners_.sockets, {})) {
    const Peer peer = peer_of(socket);
    sockets_.push_back(socket.fd.get());
    server_->accept_from(std::move(socket.fd), peer);
  }
  if (!accepts) server_->hold();
  thread_ = start_thread([this] {
    pthread_setname_np(pthread_self(), "admin");
    server_->run();
  });
  return {};
}

void AdminThread::hold() {
  if (server_) server_->hold();
}

void AdminThread::release() {
  if (server_) server_->release();
}

void AdminThread::own_paths(const std::vector<SocketPath>& paths) {
  const std::lock_guard lock(mutex_);
  listeners_.own_paths(paths);
}

std::vector<SocketPath> AdminThread::paths() const {
  const std::lock_guard lock(mutex_);
  return listeners_.unix_paths;
}

void AdminThread::let_go() {
  const std::lock_guard lock(mutex_);
  listeners_.unix_paths.clear();
  sockets_.clear();
  if (server_) server_->let_go();
}

Result<std::vector<OwnedFd>> AdminThread::copy_sockets() const {
  std::vector<OwnedFd> copies;
  for (const int each : sockets_) {
    copies.emplace_back(::fcntl(each, F_DUPFD_CLOEXEC, 0));
    if (!copies.back()) return errno_error("copy a listening socket");
  }
  return copies;
}

void AdminThread::post(std::function<void()> task) {
  if (!thread_.joinable()) return task();
  server_->post(std::move(task));
}

void AdminThread::end() {
  remove_unix_paths();
  if (!thread_.joinable()) return;
  server_->stop();
  thread_.join();
}

void AdminThread::remove_unix_paths() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  listeners_.remove_unix_paths();
}

Result<> probe_admin(const Config& config) {
  const Result<std::string> token = token_of(config);
  return token.has_error() ? Result<>(token.error()) : Result<>();
}

}  // namespace sluice::admin
