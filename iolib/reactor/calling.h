#pragma once

#include "iolib/reactor/deferral.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/timer.h"

namespace sluice {

/// A timer that calls a member function of its owner, for an owner with several timers. Borrows the
/// owner.
template <auto Function>
class CallingTimer;
template <class Owner, void (Owner::*Function)()>
class CallingTimer<Function> final : public Timer {
 public:
  explicit CallingTimer(Owner& owner) : owner_(owner) {}

 private:
  void expired() override { (owner_.*Function)(); }
  Owner& owner_;
};

/// A deferral that calls a member function of its owner, which it borrows.
template <auto Function>
class CallingDeferral;
template <class Owner, void (Owner::*Function)()>
class CallingDeferral<Function> final : public Deferral {
 public:
  explicit CallingDeferral(Owner& owner) : owner_(owner) {}

 private:
  void deferred() override { (owner_.*Function)(); }
  Owner& owner_;
};

/// An operation that calls a member function of its owner, which it borrows.
template <auto Function>
class CallingOperation;
template <class Owner, void (Owner::*Function)(const Completion&)>
class CallingOperation<Function> final : public Operation {
 public:
  explicit CallingOperation(Owner& owner) : owner_(owner) {}

 private:
  void complete(const Completion& completion) override { (owner_.*Function)(completion); }
  Owner& owner_;
};

}  // namespace sluice
