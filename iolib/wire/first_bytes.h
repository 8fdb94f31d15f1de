#pragma once

#include <cstddef>
#include <span>
#include <variant>

#include "iolib/wire/needs_bytes.h"

namespace sluice::wire {

/// A protocol that a client speaks.
enum class Protocol { other, tls, ssh, http };

/// Tells the protocol from the first bytes of a stream: TLS by the header of its first record, SSH
/// by "SSH-", HTTP by its method (RFC 9110, RFC 5789) or the preface of HTTP/2 (RFC 9113).
[[nodiscard]] std::variant<NeedsBytes, Protocol> protocol_of(std::span<const std::byte> seen);

}  // namespace sluice::wire
