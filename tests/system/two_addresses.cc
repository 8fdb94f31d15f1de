#include "tests/system/two_addresses.h"

#include <unistd.h>

#include "tests/support/process.h"

namespace sluice::test {

bool TwoAddresses::possible() {
  return ::geteuid() == 0 && !find_program("unshare").empty() &&
         Process({"unshare", "-m", "true"}).wait() == 0;
}

TwoAddresses::TwoAddresses() {
  const std::string name = kName;
  folder_.write("hosts", "::1 " + name + "\n127.0.0.1 " + name + "\n");
  folder_.write("nsswitch.conf", "hosts: files\n");
}

std::vector<std::string> TwoAddresses::known_to(const std::vector<std::string>& command) const {
  std::string mounts;
  for (const char* file : {"hosts", "nsswitch.conf"}) {
    mounts += "mount --bind " + folder_.file(file) + " /etc/" + file + " && ";
  }
  std::vector<std::string> all{"unshare", "-m", "sh", "-c", mounts + "exec \"$@\"", "sh"};
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

}  // namespace sluice::test
