#pragma once

#include <boost/intrusive/list.hpp>

namespace sluice {

/// A callback that runs once, at the end of the reactor's turn: see Reactor::defer.
///
/// Destroying it cancels it. The owner keeps it at one address while it is set.
class Deferral {
 public:
  Deferral() = default;
  Deferral(const Deferral&) = delete;
  Deferral& operator=(const Deferral&) = delete;
  virtual ~Deferral() = default;
  [[nodiscard]] bool is_deferred() const { return hook_.is_linked(); }
  /// Has no effect if it is not set.
  void cancel() { hook_.unlink(); }

 private:
  friend class DeferralQueue;
  virtual void deferred() = 0;

  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  Hook hook_;
};

/// Deferrals in the order in which they were set. Used by one thread.
class DeferralQueue {
 public:
  /// Has no effect if `deferral` is already set.
  void add(Deferral& deferral) {
    if (!deferral.is_deferred()) deferrals_.push_back(deferral);
  }
  [[nodiscard]] bool empty() const { return deferrals_.empty(); }
  /// Runs each deferral that is set now. One that is set meanwhile waits for the next call.
  void run() {
    List now;
    now.swap(deferrals_);
    while (!now.empty()) {
      Deferral& next = now.front();
      next.cancel();
      next.deferred();
    }
  }

 private:
  using List = boost::intrusive::list<
      Deferral, boost::intrusive::member_hook<Deferral, Deferral::Hook, &Deferral::hook_>,
      boost::intrusive::constant_time_size<false>>;
  List deferrals_;
};

}  // namespace sluice
