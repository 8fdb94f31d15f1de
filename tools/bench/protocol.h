#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tools/bench/workload.h"

namespace sluice::bench {

// Every connection from the load's end to the serving end begins with a Hello, whatever forwards
// it. Before that there can be a PROXY header and a TLS hello. A connection with the role `control`
// then carries lines of text: one answer for each request. A request is a verb, and for some verbs
// a JSON value; an answer is a JSON object.
//
//     request              meaning                                      answer
//     begin {"threads":8}  begins the run that the Hello named          {}
//     await N              waits until N data connections have arrived  {}
//     alive                checks that nothing has gone wrong           {}
//     mark                 reports the bytes that have passed so far    MARK
//     threads              reports the CPU time of each thread          THREADS
//     stop                 stops sending and ends the run               MARK
//
//     MARK     {"time_ns":…,"connections":[[sent,received],…]}
//     THREADS  {"time_ns":…,"used":{"TID":ns}}
//
// The answer to `stop` comes when all connections of the run have ended. An answer {"error":"…"}
// voids the run. When the control connection closes, the serving end forgets the run.

/// What a connection is for.
enum class Role : std::uint8_t {
  control,
  stream,  ///< sends or receives, as the flags say
  echo,    ///< returns each message of `size_bytes`
  call,    ///< answers the Hello with one byte
};

/// The most names that a load asks for.
inline constexpr std::size_t kMaxNames = 100;

/// The first bytes of every connection, which say what the serving end does on it.
struct Hello {
  static constexpr std::size_t kBytes = 40;
  using Bytes = std::array<char, kBytes>;

  Role role = Role::control;
  bool send = false;      ///< stream: the serving end sends
  bool receive = false;   ///< stream: it receives
  bool plain = false;     ///< stream: with Ends::plain
  bool verify = false;    ///< stream: it compares every byte
  bool closes = false;    ///< call: the serving end closes first, not the client
  bool threaded = false;  ///< echo and call: with Threading::per_connection
  std::uint32_t size_bytes = 1;
  std::uint32_t number = 0;  ///< the connection's number in its run, from 0
  std::uint64_t run = 0;     ///< a random number from the load's end
  std::uint64_t limit = 0;   ///< stream: the most bytes that the serving end sends; 0: no limit
  // What has to come before it (opening.h).
  std::uint8_t proxy_header = 0;  ///< the version of a PROXY header; 0: none
  std::uint16_t name = 0;    ///< the index, plus one, of the name in a TLS hello; 0: no TLS hello
  std::uint32_t client = 0;  ///< the IPv4 address that the PROXY header names
  friend bool operator==(const Hello&, const Hello&) = default;
};

/// Encodes a Hello: "SLB1", role, flags, two zero bytes, then the numbers in the order of the
/// struct, little-endian, with a zero byte before `name`.
[[nodiscard]] Hello::Bytes encode(const Hello& hello);
/// Decodes a Hello. Returns nothing if the bytes are not a Hello, or it exceeds the bounds of a
/// workload.
[[nodiscard]] std::optional<Hello> decode(const Hello::Bytes& bytes);

}  // namespace sluice::bench
