#pragma once

#include <string>

#include "tools/capture/connections.h"
#include "tools/capture/options.h"
#include "tools/capture/walk.h"

namespace sluice::capture {

/// Prints the records that pass a filter, one after the other.
class Printer {
 public:
  /// Borrows `invocation`.
  explicit Printer(const Invocation& invocation) : invocation_(invocation) {}
  [[nodiscard]] Result<> take(const Event& event, const At& at);

 private:
  void print(const Event& event, const Connection& connection) const;
  void print_json(const Event& event, const Connection& connection) const;
  [[nodiscard]] bool passes(const Event& event, const Connection& connection) const;

  const Invocation& invocation_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
};

/// What a record is called.
[[nodiscard]] std::string kind_name(const RecordHeader& header);

}  // namespace sluice::capture
