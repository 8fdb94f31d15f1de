#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sluice::test {

/// A number of TLS, in that many bytes.
[[nodiscard]] std::string tls_number(std::size_t value, std::size_t bytes);
/// Content behind its length, which has that many bytes.
[[nodiscard]] std::string tls_vector(std::size_t length_bytes, const std::string& content);
/// A ClientHello message with these extensions.
[[nodiscard]] std::string client_hello_with(const std::string& extensions);
/// An extension of that type; of the name of a server, as it is; of ALPN.
[[nodiscard]] std::string tls_extension(std::size_t type, const std::string& content);
[[nodiscard]] std::string server_name_extension(const std::string& name);
[[nodiscard]] std::string alpn_extension(const std::vector<std::string>& protocols);
/// The message in records of at most this size.
[[nodiscard]] std::string in_tls_records(const std::string& message, std::size_t size = 1 << 14);

}  // namespace sluice::test
