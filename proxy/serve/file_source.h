#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "iolib/balance/bandwidth.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/recording.h"
#include "iolib/pipe/splice.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/end_reason.h"
#include "proxy/serve/file_thread.h"
#include "proxy/upstream/route.h"

namespace sluice {

class Worker;
struct OpenedFile;

/// The file of a route to file:, as sent to one client. Belongs to the worker's thread.
class FileSource {
 public:
  /// Borrows all arguments.
  FileSource(Worker& worker, const Route& route, int client);
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  /// Opens the file. Returns `none` on success.
  [[nodiscard]] Task<EndReason> open();
  /// Sends the file and a FIN, then waits until the client ends too. Returns `closed`, or why it
  /// ended early. Shows `tap`, if not null, what is sent and how it ends.
  [[nodiscard]] Task<EndReason> send(capture::SideTap* tap);
  /// Makes open() and send() return soon. Their results are then meaningless.
  void stop();

  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_; }
  /// Part of sent_bytes() that was sent by sendfile.
  [[nodiscard]] std::uint64_t spliced_bytes() const { return spliced_; }

 private:
  using For = Reactor::Wait::For;
  enum class State : std::uint8_t {
    running,
    held,  ///< held up by the tap, until it calls wake()
    stopped,
  };

  [[nodiscard]] Task<EndReason> send_parts();
  void count(std::size_t bytes);
  [[nodiscard]] bool is_whole() const;
  [[nodiscard]] FileRange next_part();
  [[nodiscard]] bool brings_in_now(const FileRange& part);
  [[nodiscard]] Task<int> bring_in(FileRange part);
  [[nodiscard]] Task<std::size_t> allowed(std::size_t bytes);
  [[nodiscard]] Task<> show();
  [[nodiscard]] Transfer send_some(std::size_t bytes, std::size_t most);
  [[nodiscard]] Task<EndReason> await_end();
  [[nodiscard]] EndReason ended();
  EndReason failed(const Error& error);

  [[nodiscard]] Task<int> done(Duration limit);
  [[nodiscard]] Task<> hold();
  [[nodiscard]] Task<int> ready(int fd, For what, Duration limit);
  [[nodiscard]] bool stopped() const { return state_ == State::stopped; }
  void wake();
  void end_wait(State state);

  Worker& worker_;
  const Route& route_;
  const int client_;
  FileThread::Errand errand_;
  const std::shared_ptr<OpenedFile> file_;
  capture::SideTap* tap_ = nullptr;
  const std::unique_ptr<balance::Throttle> throttle_;  ///< null: its bandwidth has no limit
  Operation* pending_ = nullptr;                       ///< what ready() or allowed() waits for
  std::uint64_t sent_ = 0;
  std::uint64_t spliced_ = 0;
  State state_ = State::running;
  bool copies_ = false;  ///< reads and sends instead of sendfile, which is faster
};

}  // namespace sluice
