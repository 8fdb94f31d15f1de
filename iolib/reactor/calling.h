#pragma once

#include "iolib/reactor/operation.h"
#include "iolib/reactor/timer.h"

namespace sluice {

/// A timer that calls a member function of its owner: for an owner that has several. The owner is
/// borrowed.
template <auto kFunction>
class CallingTimer;
template <class Owner, void (Owner::*kFunction)()>
class CallingTimer<kFunction> final : public Timer {
 public:
  explicit CallingTimer(Owner& owner) : owner_(owner) {}

 private:
  void expired() override { (owner_.*kFunction)(); }
  Owner& owner_;
};

/// The same of an operation.
template <auto kFunction>
class CallingOperation;
template <class Owner, void (Owner::*kFunction)(const Completion&)>
class CallingOperation<kFunction> final : public Operation {
 public:
  explicit CallingOperation(Owner& owner) : owner_(owner) {}

 private:
  void complete(const Completion& completion) override { (owner_.*kFunction)(completion); }
  Owner& owner_;
};

}  // namespace sluice
