#include "tests/support/client_hello.h"

namespace sluice::test {

std::string tls_number(std::size_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = bytes; i > 0; --i) text += static_cast<char>(value >> (8 * (i - 1)) & 0xff);
  return text;
}

std::string tls_vector(std::size_t length_bytes, const std::string& content) {
  return tls_number(content.size(), length_bytes) + content;
}

std::string client_hello_with(const std::string& extensions) {
  return tls_number(1, 1) +
         tls_vector(3, tls_number(0x303, 2) + std::string(32, 'r') + tls_vector(1, "session") +
                           tls_vector(2, "ciphers!") + tls_vector(1, std::string(1, '\0')) +
                           tls_vector(2, extensions));
}

std::string tls_extension(std::size_t type, const std::string& content) {
  return tls_number(type, 2) + tls_vector(2, content);
}

std::string server_name_extension(const std::string& name) {
  return tls_extension(0, tls_vector(2, tls_number(0, 1) + tls_vector(2, name)));
}

std::string alpn_extension(const std::vector<std::string>& protocols) {
  std::string names;
  for (const std::string& each : protocols) names += tls_vector(1, each);
  return tls_extension(16, tls_vector(2, names));
}

std::string in_tls_records(const std::string& message, std::size_t size) {
  std::string stream;
  for (std::size_t at = 0; at < message.size(); at += size) {
    stream += "\x16\x03\x01" + tls_vector(2, message.substr(at, size));
  }
  return stream;
}

}  // namespace sluice::test
