#include "proxy/listen/admission.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

constexpr Duration kTurn = std::chrono::milliseconds(5);

template <class Engine>
using AdmissionTest = ReactorTest<Engine>;
TYPED_TEST_SUITE(AdmissionTest, Reactors, ReactorNames);

TYPED_TEST(AdmissionTest, WhatAnotherProcessChangedWhileHeldHoldsForNoClient) {
  for (const bool sink : {false, true}) {
    test::Listener listener = test::listen_tcp();
    ASSERT_EQ(::fcntl(listener.fd.get(), F_SETFL, O_NONBLOCK), 0);
    reset_on_close(listener.fd.get(), sink);
    const OwnedFd of_other(::dup(listener.fd.get()));
    Places places(8, false);
    WorkerStats stats;
    std::vector<Accepted> admitted;
    Admission admission(
        this->reactor(), places, stats,
        [&](Accepted client) {
          admitted.push_back(std::move(client));
          if (admitted.size() == 2) this->reactor().stop();
        },
        [] {});
    ListenSocket socket;
    socket.fd = std::move(listener.fd);
    admission.add(std::move(socket));
    admission.start();
    admission.hold();
    reset_on_close(of_other.get(), !sink);
    const OwnedFd queued = test::connect_tcp(listener.port);
    admission.release();
    EXPECT_EQ(accepted_options(of_other.get()).resets, sink);
    const OwnedFd later = test::connect_tcp(listener.port);
    this->run_for(test::kPatience);
    ASSERT_EQ(admitted.size(), 2U);
    for (const Accepted& each : admitted) {
      EXPECT_EQ(accepted_options(each.fd.get()).resets, sink);
    }
    admission.drain();
    const TimePoint deadline = Clock::now() + test::kPatience;
    while (!admission.closed() && Clock::now() < deadline) this->run_for(kTurn);
    EXPECT_TRUE(admission.closed());
  }
}

}  // namespace
}  // namespace sluice
