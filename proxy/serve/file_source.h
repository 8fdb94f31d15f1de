#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/recording.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "proxy/serve/file_thread.h"
#include "proxy/serve/session.h"
#include "proxy/upstream/route.h"

namespace sluice {

class Worker;
struct OpenedFile;

/// The file of a route to file:, as one client gets it. Belongs to the worker's thread.
class FileSource final : private Deferral {
 public:
  /// All are borrowed.
  FileSource(Worker& worker, const Route& route, int client);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  /// Opens the file.
  [[nodiscard]] Task<Result<>> open();
  /// Sends the file, and FIN, then waits for the client's own end: `closed`, or why it broke off.
  /// `tap`, if there is one, is shown what is sent, and is told of the end.
  [[nodiscard]] Task<EndReason> send(capture::SideTap* tap);
  /// Has open() and send() return soon, whatever with.
  void stop();

  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_; }
  /// Of these, by sendfile.
  [[nodiscard]] std::uint64_t spliced_bytes() const { return spliced_; }

 private:
  struct Hold;

  [[nodiscard]] Task<EndReason> send_opened();
  [[nodiscard]] Task<EndReason> send_copied();
  [[nodiscard]] Task<EndReason> send_all(std::span<const std::byte> bytes);
  [[nodiscard]] Task<int> bring_in(FileRange range);
  [[nodiscard]] Task<int> read_part(std::size_t most_bytes);
  [[nodiscard]] EndReason ended_early();
  [[nodiscard]] Task<int> done(TimePoint deadline);
  [[nodiscard]] Task<int> await_writable();
  [[nodiscard]] Task<EndReason> await_end();
  void deferred() override { std::exchange(held_, {}).resume(); }
  void wake();
  void failed(const Error& error);
  [[nodiscard]] TimePoint deadline_after(Duration limit) const;
  [[nodiscard]] TimePoint idle_deadline() const;

  Worker& worker_;
  Reactor& reactor_;
  const Route& route_;
  const int client_;
  FileThread::Errand errand_;
  const std::shared_ptr<OpenedFile> file_;
  capture::SideTap* tap_ = nullptr;
  Operation* pending_ = nullptr;  ///< what is waited for
  std::coroutine_handle<> held_;  ///< waits for the tap, which holds it up
  std::uint64_t sent_ = 0;
  std::uint64_t spliced_ = 0;
  bool stopped_ = false;
};

}  // namespace sluice
