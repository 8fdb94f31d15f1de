#include "tools/bench/opening.h"

#include <algorithm>
#include <array>
#include <span>
#include <variant>
#include <vector>

#include "iolib/wire/proxy_header.h"

namespace sluice::bench {
namespace {

using namespace std::string_literals;

constexpr char kHandshakeRecord = 0x16;
// With the header of its record: browsers pad their hellos to this length (RFC 7685).
constexpr std::size_t kTlsHelloBytes = 517;

// `content` behind its length, a number of that many bytes.
std::string with_length(std::size_t length_bytes, const std::string& content) {
  std::string text;
  for (std::size_t i = length_bytes; i > 0; --i) {
    text += static_cast<char>(content.size() >> (8 * (i - 1)));
  }
  return text + content;
}

std::string extension(char type, const std::string& content) {
  return "\0"s + type + with_length(2, content);
}

// A ClientHello in one record, with what TLS 1.3 demands (RFC 8446, section 9.2). Its random bytes
// and its key are letters.
std::string tls_hello(const std::string& name) {
  const std::string begin = "\x03\x03"s + std::string(32, 'r') +
                            with_length(1, std::string(32, 's')) +
                            with_length(2, "\x13\x01\x13\x02\x13\x03"s) + with_length(1, "\0"s);
  const std::string x25519 = "\0\x1d"s;
  std::string extensions =
      extension(0, with_length(2, "\0"s + with_length(2, name))) +
      extension(10, with_length(2, x25519)) +
      extension(13, with_length(2, "\x04\x03\x08\x04"s)) +  // ECDSA and RSA-PSS with SHA-256
      extension(43, with_length(1, "\x03\x04"s)) +
      extension(51, with_length(2, x25519 + with_length(2, std::string(32, 'k'))));
  constexpr std::size_t kHeaders = 5 + 4;  // of the record and of the message
  constexpr std::size_t kExtensionHeader = 4;
  const std::size_t bytes = kHeaders + begin.size() + 2 + extensions.size() + kExtensionHeader;
  extensions += extension(21, std::string(kTlsHelloBytes - bytes, '\0'));
  const std::string message = "\x01"s + with_length(3, begin + with_length(2, extensions));
  return kHandshakeRecord + "\x03\x01"s + with_length(2, message);
}

const std::string& tls_hello_for(std::size_t name) {
  // Never destroyed: threads of a server that lives until the end of the program may use it.
  static const std::vector<std::string>& hellos = *[] {
    auto* each = new std::vector<std::string>;
    for (std::size_t i = 0; i < kMaxNames; ++i) each->push_back(tls_hello(server_name(i)));
    return each;
  }();
  return hellos.at(name);
}

bool is_address(const SocketAddress& client, std::uint32_t address) {
  std::array<std::byte, 4> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes.at(i) = static_cast<std::byte>(address >> (8 * (bytes.size() - 1 - i)));
  }
  return client.family() == AF_INET && std::ranges::equal(client.host_bytes(), bytes);
}

}  // namespace

std::string server_name(std::size_t index) { return "n" + std::to_string(index) + ".bench.test"; }

std::string first_bytes(const Opening& opening, Hello hello, std::uint64_t turn,
                        std::uint32_t source) {
  hello.proxy_header = opening.proxy_header;
  if (opening.proxy_header != 0) hello.client = source;
  std::string bytes;
  if (opening.names > 0) {
    const std::uint64_t name = turn % opening.names;
    hello.name = static_cast<std::uint16_t>(name + 1);
    bytes = tls_hello_for(name);
  }
  const Hello::Bytes encoded = encode(hello);
  return bytes.append(encoded.data(), encoded.size());
}

Preface read_preface(std::string_view seen) {
  Preface preface;
  const auto header = wire::parse_proxy_header(std::as_bytes(std::span(seen)));
  if (const auto* more = std::get_if<wire::NeedsBytes>(&header)) preface.proxy_bytes = more->total;
  if (const auto* parsed = std::get_if<wire::ProxyHeader>(&header)) {
    preface.proxy_header = seen.starts_with('P') ? 1 : 2;
    preface.client = parsed->client;
    preface.proxy_bytes = parsed->size_bytes;
  }
  if (seen.size() <= preface.proxy_bytes) return preface;
  if (seen[preface.proxy_bytes] == kHandshakeRecord) preface.tls_bytes = kTlsHelloBytes;
  return preface;
}

std::string fault_of(const Preface& preface, std::string_view seen, const Hello& hello,
                     std::size_t server, std::size_t servers) {
  const auto version = [](std::uint8_t header) {
    return header == 0 ? "none"s : "version " + std::to_string(header);
  };
  if (preface.proxy_header != hello.proxy_header) {
    return "upstream: the PROXY header of a connection: " + version(preface.proxy_header) +
           ", expected " + version(hello.proxy_header);
  }
  if (hello.proxy_header != 0 && !is_address(preface.client, hello.client)) {
    return "upstream: a PROXY header names the wrong client";
  }
  const std::string_view tls = seen.substr(preface.proxy_bytes, preface.tls_bytes);
  if (hello.name == 0) return tls.empty() ? "" : "upstream: a TLS hello came that was never sent";
  const std::size_t name = hello.name - 1U;
  if (tls != tls_hello_for(name)) return "upstream: a TLS hello is not what was sent";
  if (name % servers == server) return "";
  return "upstream: a connection for " + server_name(name) + " came to server " +
         std::to_string(server) + " of " + std::to_string(servers) + ", expected " +
         std::to_string(name % servers);
}

}  // namespace sluice::bench
