#include "tests/support/loop_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/process.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

/// Empty on success, else what the program printed.
std::string run_tool(const std::vector<std::string>& argv, std::string* output = nullptr) {
  Process tool(argv);
  const bool good = tool.wait() == 0;
  if (output != nullptr) *output = tool.standard_output();
  return good ? "" : argv[0] + ": " + tool.standard_error();
}

std::string failed(const std::string& call) { return call + ": " + std::strerror(errno); }

bool write_to(const std::string& path, const std::string& text) {
  const OwnedFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// No other process sees later mounts.
std::string leave_namespace() {
  static thread_local bool left = false;
  if (left) return {};
  if (::unshare(CLONE_NEWNS) != 0) return failed("unshare");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("mount /");
  left = true;
  return {};
}

}  // namespace

std::unique_ptr<LoopDisk> LoopDisk::create(std::uint64_t size_bytes, std::string& why_not) {
  if (::geteuid() != 0) {
    why_not = "a disk of its own takes root";
    return nullptr;
  }
  for (const char* program : {"mkfs.ext4", "losetup"}) {
    if (!find_program(program).empty()) continue;
    why_not = std::string("not installed here: ") + program;
    return nullptr;
  }
  std::unique_ptr<LoopDisk> disk(new LoopDisk);
  why_not = disk->make(size_bytes);
  return why_not.empty() ? std::move(disk) : nullptr;
}

std::string LoopDisk::make(std::uint64_t size_bytes) {
  const std::string image = folder_.write("image", "");
  std::filesystem::resize_file(image, size_bytes);
  if (std::string wrong = leave_namespace(); !wrong.empty()) return wrong;
  if (std::string wrong = run_tool({"mkfs.ext4", "-q", "-F", "-m", "0", "-E",
                                    "lazy_itable_init=0,lazy_journal_init=0", image});
      !wrong.empty()) {
    return wrong;
  }
  std::string loop;
  if (std::string wrong = run_tool({"losetup", "--find", "--show", image}, &loop); !wrong.empty()) {
    return wrong;
  }
  loop.erase(loop.find_last_not_of('\n') + 1);
  path_ = folder_.file("disk");
  ::mkdir(path_.c_str(), 0700);
  const bool mounted = ::mount(loop.c_str(), path_.c_str(), "ext4", 0, "commit=300") == 0;
  std::string wrong = mounted ? "" : failed("mount " + loop);
  // While it is mounted this only marks it. The device goes with the last mount.
  static_cast<void>(run_tool({"losetup", "--detach", loop}));
  if (!mounted) return wrong;
  mounted_ = true;
  struct stat about {};
  if (::stat(path_.c_str(), &about) != 0) return failed("stat");
  device_ = std::to_string(major(about.st_dev)) + ':' + std::to_string(minor(about.st_dev));
  return {};
}

LoopDisk::~LoopDisk() {
  thaw();
  end_throttle();
  // Its processes have ended, but the kernel may not have released their files yet.
  const bool gone = wait_until([this] {
    if (!group_.empty() && ::rmdir(group_.c_str()) == 0) group_.clear();
    if (mounted_ && ::umount2(path_.c_str(), 0) == 0) mounted_ = false;
    return group_.empty() && !mounted_;
  });
  if (!gone) std::fprintf(stderr, "%s is still in use\n", path_.c_str());
}

std::uint64_t LoopDisk::free_bytes() const {
  struct statvfs about {};
  if (::statvfs(path_.c_str(), &about) != 0) return 0;
  return std::uint64_t{about.f_bavail} * about.f_frsize;
}

// The 16th number (Documentation/block/stat.rst of the kernel).
std::optional<std::uint64_t> LoopDisk::flushes() const {
  std::ifstream stat("/sys/dev/block/" + device_ + "/stat");
  std::uint64_t value = 0;
  for (int i = 0; i < 16; ++i) {
    if (!(stat >> value)) return std::nullopt;
  }
  return value;
}

void LoopDisk::fill(const std::string& name, std::uint64_t left_bytes) const {
  const OwnedFd file(
      ::open((path_ + '/' + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600));
  const std::uint64_t now_free = free_bytes();
  if (now_free <= left_bytes) return;
  if (::fallocate(file.get(), 0, 0, static_cast<off_t>(now_free - left_bytes)) != 0) {
    throw std::runtime_error(failed("fallocate"));
  }
}

void LoopDisk::freeze() {
  const OwnedFd directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (::ioctl(directory.get(), FIFREEZE, 0) != 0) throw std::runtime_error(failed("FIFREEZE"));
  frozen_ = true;
}

void LoopDisk::thaw() {
  if (!frozen_) return;
  const OwnedFd directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  frozen_ = ::ioctl(directory.get(), FITHAW, 0) != 0;
}

void LoopDisk::turn_read_only() {
  // "abort" also works while files are open for writing; an ordinary remount refuses then.
  if (::mount(nullptr, path_.c_str(), nullptr, MS_REMOUNT, "abort") != 0) {
    throw std::runtime_error(failed("remount"));
  }
}

std::string LoopDisk::throttle(pid_t process, std::uint64_t bytes_per_second) {
  if (group_.empty()) {
    const std::string name = "/sluice-test-" + std::to_string(::getpid());
    const std::string old = "/sys/fs/cgroup/blkio";
    const bool second = !std::filesystem::exists(old + "/blkio.throttle.write_bps_device");
    if (second) write_to("/sys/fs/cgroup/cgroup.subtree_control", "+io");
    const std::string group = (second ? "/sys/fs/cgroup" : old) + name;
    if (::mkdir(group.c_str(), 0700) != 0) return failed("mkdir " + group);
    group_ = group;
    limit_ = group + (second ? "/io.max" : "/blkio.throttle.write_bps_device");
  }
  const std::string rate = std::to_string(bytes_per_second);
  const bool second = limit_.ends_with("io.max");
  if (!write_to(limit_, device_ + (second ? " wbps=" : " ") + rate)) return failed(limit_);
  if (!write_to(group_ + "/cgroup.procs", std::to_string(process))) return failed("cgroup.procs");
  return {};
}

void LoopDisk::end_throttle() {
  if (limit_.empty()) return;
  write_to(limit_, device_ + (limit_.ends_with("io.max") ? " wbps=max" : " 0"));
}

}  // namespace sluice::test
