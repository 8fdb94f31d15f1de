#include "proxy/admin/token.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "iolib/base/owned_fd.h"
#include "iolib/base/text.h"

namespace sluice::admin {
namespace {

constexpr std::size_t kShortestToken = 32;
constexpr std::size_t kLongestToken = 1024;
// What must not be set: write permission for the group, and everything for others.
constexpr mode_t kTooOpen = 027;

bool is_allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
         std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

}  // namespace

Result<std::string> read_token(const std::string& path) {
  const std::string what = "admin-token-file " + path;
  // Without O_NONBLOCK, open() of a FIFO would wait for a writer.
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) return errno_error(what);
  if (!S_ISREG(about.st_mode)) return Error{0, what + ": is not a regular file"};
  if ((about.st_mode & kTooOpen) != 0) {
    char mode[16];
    std::snprintf(mode, sizeof mode, "%04o", about.st_mode & 07777U);
    return Error{0,
                 what + ": its mode is " + mode + ", expected 0640 or less: the token is secret"};
  }
  std::string token(kLongestToken + 2, '\0');
  const ssize_t count = ::read(fd.get(), token.data(), token.size());
  if (count < 0) return errno_error(what);
  token.resize(static_cast<std::size_t>(count));
  if (token.ends_with('\n')) token.pop_back();
  if (token.size() < kShortestToken || token.size() > kLongestToken) {
    return Error{0, what + ": " +
                        (token.size() > kLongestToken ? "over " + std::to_string(kLongestToken)
                                                      : std::to_string(token.size())) +
                        " characters, expected one line of " + std::to_string(kShortestToken) +
                        " to " + std::to_string(kLongestToken)};
  }
  if (!std::ranges::all_of(token, is_allowed)) {
    return Error{0, what + ": expected one line of letters, digits and -._~+/="};
  }
  return token;
}

}  // namespace sluice::admin
