#pragma once

#include <string>

#include "tools/capture/findings.h"
#include "tools/capture/options.h"
#include "tools/common/connections.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// Prints the records that pass the invocation's filter, in the order of the events. Findings go to
/// stderr.
class Printer {
 public:
  /// `invocation` must outlive the printer.
  explicit Printer(const Invocation& invocation)
      : invocation_(invocation), names_(invocation.filter.id) {}
  /// Takes an event of a walk. Errors of stdout stay in the stream: see ferror(3).
  [[nodiscard]] Result<> take(const Event& event, const At& at);
  /// Fails if the connection that the filter names was not found.
  [[nodiscard]] Result<> check() const { return names_.check(); }

 private:
  void print(const Event& event, const Connection& connection) const;

  const Invocation& invocation_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  ConnectionNames names_;
};

/// Whether a record passes the invocation's filter and side.
[[nodiscard]] bool passes(const Invocation& invocation, const Event& event,
                          const Connection& connection);
/// The record as JSON, without the bytes of `data`.
[[nodiscard]] json::object to_json(const Event& event, const Connection& connection);

}  // namespace sluice::capture
