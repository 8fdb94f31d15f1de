#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tools/bench/workload.h"

namespace sluice::bench {

// Every connection from the load's end to the serving end begins with a Hello, whatever forwards
// it. One with the role `control` then carries lines of text each way, a line of answer to a line
// of request, all JSON but the verb:
//
//     begin {"threads":8}   the run that the Hello named begins        → {}
//     await N               N data connections have arrived            → {}
//     alive                 nothing is wrong                           → {}
//     mark                  what has passed so far                     → as below
//     threads               what each of its threads has used      →
//     {"time_ns":…,"used":{"TID":ns}} stop                  its ends stop sending, and the run is
//     over
//                           when all its connections have ended        → as below
//
//     {"time_ns":…,"connections":[[sent,received],…]}
//
// An answer {"error":"…"} voids the run. The run ends with its control connection.

/// What a connection is for.
enum class Role : std::uint8_t {
  control,
  stream,  ///< as the flags say
  echo,    ///< answers each message of `size_bytes` with itself
  call,    ///< answers the Hello with one byte
};

struct Hello {
  static constexpr std::size_t kBytes = 40;
  using Bytes = std::array<char, kBytes>;

  Role role = Role::control;
  bool send = false;     ///< stream: the serving end sends
  bool receive = false;  ///< stream: it receives
  bool plain = false;    ///< stream: with plain ends
  bool verify = false;   ///< stream: it compares every byte
  bool closes = false;   ///< call: the serving end closes first, not the client
  std::uint32_t size_bytes = 1;
  std::uint32_t number = 0;  ///< of the connection in its run, from 0
  std::uint64_t run = 0;     ///< chosen by the load's end at random
  std::uint64_t limit = 0;   ///< stream: what the serving end sends at most
  friend bool operator==(const Hello&, const Hello&) = default;
};

/// On the wire: "SLB1", role, flags, two zero bytes, then the numbers in the order of the struct,
/// little-endian, and four zero bytes.
[[nodiscard]] Hello::Bytes encode(const Hello& hello);
/// Nothing if it is not one, or asks for more than the bounds of a workload.
[[nodiscard]] std::optional<Hello> decode(const Hello::Bytes& bytes);

}  // namespace sluice::bench
