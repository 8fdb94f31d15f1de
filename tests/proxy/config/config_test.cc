#include "proxy/config/config.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/text.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

testing::AssertionResult starts_with(const std::string& text, std::string_view prefix) {
  if (text.starts_with(prefix)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << text << " does not start with " << prefix;
}

/// Each test has its own directory, removed afterwards.
class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-config-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = name + "/sluice.toml";
  }
  ~ConfigTest() override { std::filesystem::remove_all(directory_); }

  void write(std::string_view text) const { std::ofstream(path_) << text; }

  static Invocation run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "sluice");
    std::vector<const char*> argv;
    argv.reserve(arguments.size() + 1);
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    return parse_command_line(static_cast<int>(arguments.size()), argv.data());
  }

  /// Runs a complete route followed by these arguments.
  static Invocation run_route(const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"--listen", ":7000", "--to", "upstream:80"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all);
  }

  static Config good(const Invocation& invocation) {
    EXPECT_EQ(invocation.action, Invocation::Action::run) << invocation.message;
    EXPECT_EQ(invocation.message, "");
    EXPECT_EQ(invocation.exit_status, 0);
    return invocation.config;
  }

  /// The single line of a usage error, without "sluice: " and the newline.
  static std::string usage_error(const Invocation& invocation) {
    return failure(invocation, 2, "sluice: ");
  }

  static std::string failure(const Invocation& invocation, int status, const std::string& prefix) {
    EXPECT_EQ(invocation.action, Invocation::Action::exit);
    EXPECT_EQ(invocation.exit_status, status) << invocation.message;
    const std::string& message = invocation.message;
    EXPECT_EQ(std::ranges::count(message, '\n'), 1) << message;
    EXPECT_TRUE(message.ends_with('\n')) << message;
    EXPECT_TRUE(message.starts_with(prefix)) << message;
    if (message.size() <= prefix.size()) return message;
    return message.substr(prefix.size(), message.size() - prefix.size() - 1);
  }

  Config load(std::string_view text, const std::vector<std::string>& arguments = {}) const {
    write(text);
    std::vector<std::string> all{"--config", path_};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return good(run(all));
  }

  /// The single line that refuses `text`, without the path before the line number.
  std::string load_error(std::string_view text) const {
    write(text);
    return failure(run({"--config", path_}), 1, path_ + ":");
  }

  std::string directory_;
  std::string path_;
};

using CommandLine = ConfigTest;
using ConfigFile = ConfigTest;

// The other keys that a route with one key needs.
const std::string kAddresses = "listen = \":1\"\nto = \"echo:\"\n";
const std::string kNameAndTarget = "name = \"b\"\nto = \"echo:\"\n";
const std::string kNameAndListener = "name = \"b\"\nlisten = \":9\"\n";

constexpr std::string_view kRoute =
    "[[route]]\n"
    "name = \"a\"\n"
    "listen = \":1\"\n"
    "to = \"echo:\"\n";

std::string with_defaults(std::string_view lines) {
  return "[defaults]\n" + std::string(lines) + "\n" + std::string(kRoute);
}
std::string with_route(std::string_view lines) { return std::string(kRoute) + std::string(lines); }

TEST_F(CommandLine, OneRouteTakesTheDefaults) {
  const Config config = good(run({"--listen", "127.0.0.1:7000", "--to", "10.0.0.2:5432"}));
  ASSERT_EQ(config.routes.size(), 1u);
  const RouteConfig& route = config.routes[0];
  EXPECT_EQ(route.name, "default");
  ASSERT_EQ(route.listen.size(), 1u);
  EXPECT_EQ(to_string(route.listen[0]), "127.0.0.1:7000");
  EXPECT_EQ(to_string(route.target()), "10.0.0.2:5432");
  EXPECT_EQ(route.zero_copy, ZeroCopy::automatic);
  EXPECT_EQ(route.connect_timeout, 5s);
  EXPECT_EQ(route.idle_timeout, 1h);
  EXPECT_EQ(route.half_close_timeout, 30s);
  EXPECT_EQ(config.workers, 0);
  EXPECT_EQ(config.engine, Engine::automatic);
  EXPECT_EQ(config.cpu_affinity.mode, CpuAffinity::Mode::automatic);
  EXPECT_EQ(config.drain_timeout, 30s);
  EXPECT_EQ(config.max_connections, 100'000u);
  EXPECT_EQ(config.pipe_size_bytes, 1u << 20);
  EXPECT_EQ(config.pipe_budget_slots, 65'536u);
  EXPECT_EQ(config.log_level, LogLevel::info);
  EXPECT_EQ(config.log_format, LogFormat::text);
  EXPECT_EQ(config.log_file, "");
}

TEST_F(CommandLine, EveryOptionIsTakenInEitherForm) {
  const Config config = good(run_route({"--workers=3",
                                        "--engine",
                                        "epoll",
                                        "--zero-copy=always",
                                        "--connect-timeout",
                                        "200ms",
                                        "--idle-timeout=0",
                                        "--half-close-timeout",
                                        "1m30s",
                                        "--drain-timeout=0s",
                                        "--max-connections",
                                        "12",
                                        "--cpu-affinity=0,2-3",
                                        "--pipe-size",
                                        "64KiB",
                                        "--pipe-budget=4096",
                                        "--log-level",
                                        "warn",
                                        "--log-format=json",
                                        "--log-file",
                                        "/var/log/sluice.log"}));
  EXPECT_EQ(config.workers, 3);
  EXPECT_EQ(config.engine, Engine::epoll);
  EXPECT_EQ(config.routes[0].zero_copy, ZeroCopy::always);
  EXPECT_EQ(config.routes[0].connect_timeout, 200ms);
  EXPECT_EQ(config.routes[0].idle_timeout, 0s);
  EXPECT_EQ(config.routes[0].half_close_timeout, 90s);
  EXPECT_EQ(config.drain_timeout, 0s);
  EXPECT_EQ(config.max_connections, 12u);
  EXPECT_EQ(config.cpu_affinity.mode, CpuAffinity::Mode::list);
  EXPECT_EQ(config.cpu_affinity.cpus, (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(config.pipe_size_bytes, 65'536u);
  EXPECT_EQ(config.pipe_budget_slots, 4'096u);
  EXPECT_EQ(config.log_level, LogLevel::warn);
  EXPECT_EQ(config.log_format, LogFormat::json);
  EXPECT_EQ(config.log_file, "/var/log/sluice.log");
}

TEST_F(CommandLine, EveryChoiceMeansItsEnumerator) {
  EXPECT_EQ(good(run_route({"--engine", "uring"})).engine, Engine::uring);
  EXPECT_EQ(good(run_route({"--engine", "auto"})).engine, Engine::automatic);
  EXPECT_EQ(good(run_route({"--zero-copy", "never"})).routes[0].zero_copy, ZeroCopy::never);
  EXPECT_EQ(good(run_route({"--log-level", "trace"})).log_level, LogLevel::trace);
  EXPECT_EQ(good(run_route({"--log-level", "debug"})).log_level, LogLevel::debug);
  EXPECT_EQ(good(run_route({"--log-level", "error"})).log_level, LogLevel::error);
  EXPECT_EQ(good(run_route({"--log-level", "off"})).log_level, LogLevel::off);
  EXPECT_EQ(good(run_route({"--log-format", "text"})).log_format, LogFormat::text);
  EXPECT_EQ(good(run_route({"--cpu-affinity", "none"})).cpu_affinity.mode, CpuAffinity::Mode::none);
}

TEST_F(CommandLine, AdminAddressesAndHostsMayBeRepeated) {
  const Config config = good(run_route({"--admin", "unix:/run/admin.sock", "--admin=127.0.0.1:9090",
                                        "--admin-host", "Sluice.Example", "--admin-host=b",
                                        "--admin-token-file", "/run/token", "--lame-duck", "5s"}));
  ASSERT_EQ(config.admin.size(), 2u);
  EXPECT_EQ(to_string(config.admin[1]), "127.0.0.1:9090");
  EXPECT_EQ(config.admin_hosts, (std::vector<std::string>{"sluice.example", "b"}));
  EXPECT_EQ(config.admin_token_file, "/run/token");
  EXPECT_EQ(config.lame_duck, 5s);
}

TEST_F(CommandLine, AdminAddressesAreNobodyElses) {
  EXPECT_EQ(usage_error(run_route({"--admin", "unix:@admin"})),
            "--admin: an abstract socket, which anybody may use, in \"unix:@admin\": expected "
            "unix:/path or a TCP address");
  EXPECT_EQ(usage_error(run_route({"--admin", "9090"})).substr(0, 9), "--admin: ");
  EXPECT_EQ(
      usage_error(run({"--listen", "127.0.0.1:1", "--to", "echo:", "--admin", "127.0.0.1:1"})),
      "--admin: \"127.0.0.1:1\" is listened on already, expected each address once");
  EXPECT_EQ(usage_error(run_route({"--admin", "unix:/a", "--admin", "unix:/x/../a"})),
            "--admin: \"unix:/x/../a\" is listened on already, expected each address once");
  EXPECT_EQ(usage_error(run_route({"--admin-host", "a:80"})),
            "--admin-host: no host name in \"a:80\": expected letters, digits, '.', '-' and '_', "
            "without a port");
}

TEST_F(CommandLine, ListenMayBeRepeated) {
  const Config config =
      good(run({"--listen", ":1", "--listen=[::1]:2", "--listen", "unix:/run/s", "--to", "echo:"}));
  ASSERT_EQ(config.routes[0].listen.size(), 3u);
  EXPECT_EQ(to_string(config.routes[0].listen[1]), "[::1]:2");
  EXPECT_EQ(to_string(config.routes[0].target()), "echo:");
}

TEST_F(CommandLine, ServersMayBeRepeated) {
  const RouteConfig route = good(run_route({"--to", "b:1", "--to=unix:/s", "--balance",
                                            "source-hash", "--retries=0", "--hedge-after", "50ms"}))
                                .routes[0];
  ASSERT_EQ(route.to.size(), 3U);
  EXPECT_EQ(to_string(route.to[1].address), "b:1");
  EXPECT_EQ(to_string(route.to[2].address), "unix:/s");
  EXPECT_EQ(route.to[2].weight, 1U);
  EXPECT_FALSE(route.to[2].backup);
  EXPECT_EQ(route.balance, Balance::source_hash);
  EXPECT_EQ(route.retries, 0U);
  EXPECT_EQ(route.hedge_after, std::chrono::milliseconds(50));
  EXPECT_FALSE(good(run_route({})).routes[0].retries.has_value());
}

TEST_F(CommandLine, SeveralTargetsAreDifferentServers) {
  EXPECT_EQ(usage_error(run_route({"--to", "upstream:80"})),
            "--to: \"upstream:80\" is given twice, expected each once");
  for (const char* target : {"echo:", "discard:", "file:/x"}) {
    EXPECT_EQ(usage_error(run_route({"--to", target})),
              "--to: " + in_quotes(target) + " is one of several targets, expected servers only");
  }
  EXPECT_EQ(usage_error(run({"--listen", ":5", "--to", "a:1", "--to", "127.0.0.1:5"})),
            "--to: \"127.0.0.1:5\" leads back to a listener of this route, expected another "
            "server");
  EXPECT_EQ(usage_error(run_route({"--retries", "101"})),
            "--retries: out of bounds in \"101\": expected 0 (never), or 1 to 100");
}

TEST_F(CommandLine, NamesOfServersMayBeAmongServers) {
  const RouteConfig route = good(run_route({"--to", "dns:b:1", "--to", "srv:_c._tcp.d"})).routes[0];
  ASSERT_EQ(route.to.size(), 3U);
  EXPECT_EQ(to_string(route.to[1].address), "dns:b:1");
  EXPECT_EQ(to_string(route.to[2].address), "srv:_c._tcp.d");
  EXPECT_TRUE(route.has_servers());
  EXPECT_EQ(route.resolve_interval, std::chrono::seconds(10));
  EXPECT_EQ(usage_error(run_route({"--to", "dns:b:1", "--to", "dns:b:1"})),
            "--to: \"dns:b:1\" is given twice, expected each once");
  EXPECT_EQ(usage_error(run({"--listen", ":5", "--to", "dns:localhost:5"})),
            "--to: \"dns:localhost:5\" leads back to a listener of this route, expected another "
            "server");
  EXPECT_EQ(usage_error(run_route({"--mirror", "srv:_a._tcp.b"})),
            "--mirror: no address of a server in \"srv:_a._tcp.b\": expected HOST:PORT, "
            "[IPV6]:PORT, :PORT or unix:/path");
}

TEST_F(CommandLine, AnExchangeNeedsItsBytes) {
  EXPECT_EQ(good(run_route({"--health", "tcp"})).routes[0].health, Health::tcp);
  EXPECT_EQ(usage_error(run_route({"--health", "exchange"})),
            "--health: exchange without health-send, expected health-send and health-expect in the "
            "file");
  EXPECT_EQ(usage_error(run_route({"--health-send", "x"})),
            "--health-send: unknown option, see sluice --help");
}

TEST_F(CommandLine, ServersAreBounded) {
  const auto with = [](std::size_t servers, const std::string& balance) {
    std::vector<std::string> arguments{"--balance", balance};
    for (std::size_t port = 1; port < servers; ++port) {
      arguments.push_back("--to=a:" + std::to_string(port));
    }
    return run_route(arguments);
  };
  EXPECT_EQ(good(with(10'000, "two-choices")).routes[0].to.size(), 10'000U);
  EXPECT_EQ(usage_error(with(10'001, "two-choices")),
            "--to: 10001 servers, expected at most 10000");
  EXPECT_EQ(good(with(256, "least-connections")).routes[0].to.size(), 256U);
  EXPECT_EQ(usage_error(with(257, "least-connections")),
            "--balance: least-connections with 257 servers, expected at most 256");
}

TEST_F(CommandLine, EverythingElseMayNot) {
  EXPECT_EQ(usage_error(run_route({"--workers", "1", "--workers=2"})),
            "--workers: given twice, expected once");
}

TEST_F(CommandLine, MirrorsMayBeRepeatedAndAreServers) {
  const Config config = good(run_route({"--mirror", "a:1", "--mirror=unix:/run/m",
                                        "--mirror-max-lag", "1MiB", "--mirror-on-lag", "shed",
                                        "--mirror-sample", "0.25", "--mirror-buffers", "8MiB"}));
  const RouteConfig& route = config.routes[0];
  ASSERT_EQ(route.mirrors.size(), 2U);
  EXPECT_EQ(to_string(route.mirrors[0]), "a:1");
  EXPECT_EQ(to_string(route.mirrors[1]), "unix:/run/m");
  EXPECT_EQ(route.mirror_max_lag_bytes, 1U << 20);
  EXPECT_EQ(route.mirror_on_lag, mirror::OnLag::shed);
  EXPECT_EQ(route.mirror_sample, 250'000U);
  EXPECT_EQ(config.mirror_buffers_bytes, 8U << 20);
  EXPECT_EQ(usage_error(run_route({"--mirror", "a:1", "--mirror", "a:1"})),
            "--mirror: \"a:1\" is given twice, expected each address once");
  EXPECT_EQ(
      usage_error(run_route({"--mirror", "discard:"})),
      "--mirror: no address of a server in \"discard:\": expected HOST:PORT, [IPV6]:PORT, :PORT or "
      "unix:/path");
  EXPECT_EQ(usage_error(run({"--listen", ":1", "--to", "file:/x", "--mirror", ":2"})),
            "--mirror: given with file:/x, which takes nothing from its clients, expected a "
            "server, discard: or echo:");
  std::vector<std::string> many;
  for (int port = 1; port <= 17; ++port) many.push_back("--mirror=:" + std::to_string(port));
  EXPECT_EQ(usage_error(run_route(many)),
            "--mirror: \":17\" is one address too many, expected at most 16");
}

// Otherwise each connection would cause another, until the descriptors run out.
TEST_F(CommandLine, ATargetIsNoneOfItsOwnListeners) {
  EXPECT_EQ(
      usage_error(run({"--listen", ":5", "--to", "127.0.0.1:5"})),
      "--to: \"127.0.0.1:5\" leads back to a listener of this route, expected another server");
  EXPECT_EQ(usage_error(run({"--listen", "unix:/s", "--listen", ":5", "--to", "unix:/s"})),
            "--to: \"unix:/s\" leads back to a listener of this route, expected another server");
  EXPECT_EQ(good(run({"--listen", "127.0.0.1:5", "--to", "127.0.0.1:6"})).routes.size(), 1U);
}

TEST_F(CommandLine, AMirrorIsNoneOfItsOwnListeners) {
  const auto with = [](const std::string& listen, const std::string& mirror) {
    return run({"--listen", listen, "--to", "echo:", "--mirror", mirror});
  };
  EXPECT_EQ(usage_error(with("127.0.0.1:5", "127.0.0.1:5")),
            "--mirror: \"127.0.0.1:5\" is one of sluice's own listeners, expected another server");
  const std::vector<std::pair<std::string, std::string>> same{
      {":5", ":5"},
      {":5", "127.0.0.1:5"},
      {":5", "127.1.2.3:5"},
      {":5", "[::1]:5"},
      {":5", "LocalHost:5"},
      {"0.0.0.0:5", "127.0.0.1:5"},
      {"[::]:5", "[0:0::1]:5"},
      {":5", "[::ffff:127.0.0.1]:5"},
      {"127.0.0.1:5", "[::ffff:127.0.0.1]:5"},
      {"127.0.0.1:5", ":5"},
      {"127.0.0.1:5", "0.0.0.0:5"},
      {"127.0.0.1:5", "localhost:5"},
      {"localhost:5", "127.0.0.1:5"},
      {"10.0.0.1:5", "10.0.0.1:5"},
      {"a:5", "A:5"},
      {"unix:/run/a", "unix:/run/a"},
      {"unix:/run/a", "unix:/run/.//a"},
      {"unix:@a", "unix:@a"},
  };
  for (const auto& [listen, mirror] : same) {
    EXPECT_TRUE(starts_with(usage_error(with(listen, mirror)), "--mirror: ")) << listen;
  }
  const std::vector<std::pair<std::string, std::string>> others{
      {":5", ":6"},
      {":5", "240.0.0.1:5"},  // an address that no machine has
      {"127.0.0.1:5", "127.0.0.2:5"},
      {"localhost:5", "127.0.0.2:5"},
      {"127.0.0.1:5", "[::1]:5"},
      {"0.0.0.0:5", "[::1]:5"},
      {"10.0.0.1:5", ":5"},
      {"127.0.0.1:0", "127.0.0.1:5"},
      {"unix:/run/a", "unix:/run/b"},
      {"unix:@/run/a", "unix:/run/a"},
      {"unix:@/run/a", "unix:@/run//a"},
  };
  for (const auto& [listen, mirror] : others) {
    EXPECT_EQ(good(with(listen, mirror)).routes.size(), 1U) << listen << " " << mirror;
  }
}

TEST_F(CommandLine, WhateverAnInterfaceHasIsThisMachine) {
  ifaddrs* interfaces = nullptr;
  ASSERT_EQ(::getifaddrs(&interfaces), 0);
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(interfaces, &::freeifaddrs);
  std::size_t other_than_loopback = 0;
  for (const ifaddrs* each = interfaces; each != nullptr; each = each->ifa_next) {
    const auto address = SocketAddress::from(each->ifa_addr, sizeof(sockaddr_in6));
    if (address.family() == AF_UNSPEC) continue;
    if ((each->ifa_flags & IFF_LOOPBACK) == 0) ++other_than_loopback;
    // "HOST:0", with port 50.
    const std::string target = address.to_string().insert(address.to_string().size() - 1, "5");
    EXPECT_EQ(
        usage_error(run({"--listen", ":50", "--to", target})),
        "--to: \"" + target + "\" leads back to a listener of this route, expected another server");
    EXPECT_EQ(good(run({"--listen", ":5", "--to", target})).routes.size(), 1U);
  }
  if (other_than_loopback == 0) GTEST_SKIP() << "no interface but loopback has an address here";
}

TEST_F(CommandLine, NothingAtAllPrintsTheUsage) {
  const Invocation invocation = run({});
  EXPECT_EQ(failure(invocation, 2, "usage: sluice "),
            "--listen ADDR --to ADDR [options] | sluice --config FILE [--check] | sluice --help");
  EXPECT_EQ(parse_command_line(0, nullptr).exit_status, 2);
}

TEST_F(CommandLine, HelpOfAllShowsEveryDefaultAndBound) {
  for (const auto& arguments : {std::vector<std::string>{"--help", "all"}, {"--help=all"}}) {
    const Invocation invocation = run(arguments);
    EXPECT_EQ(invocation.action, Invocation::Action::exit);
    EXPECT_EQ(invocation.exit_status, 0);
    EXPECT_TRUE(invocation.message.ends_with('\n'));
    std::string words;  // the message without its line breaks
    std::istringstream message(invocation.message);
    for (std::string word; message >> word;) words += word + " ";
    for (const char* text :
         {"--idle-timeout DURATION", "Default: 1h.", "Allowed: 0 (never), or 1ms to 365d.",
          "--pipe-size SIZE", "64KiB to 16MiB.", "auto, uring or epoll."}) {
      EXPECT_NE(words.find(text), std::string::npos) << text;
    }
  }
}

TEST_F(CommandLine, HelpWithoutATopicIsShort) {
  const Invocation invocation = run({"--help"});
  EXPECT_EQ(invocation.exit_status, 0);
  EXPECT_EQ(run({"-h"}).message, invocation.message);
  EXPECT_EQ(run({"--help", "--workers", "2"}).message, invocation.message);
  EXPECT_LE(std::ranges::count(invocation.message, '\n'), 42);
}

TEST_F(CommandLine, HelpOfATopicIsAboutThatAlone) {
  const Invocation invocation = run({"-h", "mirror"});
  EXPECT_EQ(invocation.exit_status, 0);
  EXPECT_NE(invocation.message.find("--mirror-sample SHARE"), std::string::npos);
  EXPECT_EQ(invocation.message.find("--idle-timeout"), std::string::npos);
}

TEST_F(CommandLine, AnUnknownTopicOfHelpNamesThemAll) {
  EXPECT_EQ(
      usage_error(run({"--help", "miror"})),
      "--help: unknown topic \"miror\": expected all, routes, servers, clients, timeouts, capture, "
      "mirror, log, admin, "
      "workers, transfer or general; did you mean \"mirror\"?");
  EXPECT_TRUE(
      starts_with(usage_error(run({"--help="})), "--help: missing value, expected TOPIC ("));
}

TEST_F(CommandLine, HelpAndVersionWinOverAMissingRoute) {
  EXPECT_EQ(run({"--workers", "2", "--help"}).exit_status, 0);
  const Invocation invocation = run({"--version"});
  EXPECT_EQ(invocation.action, Invocation::Action::exit);
  EXPECT_EQ(invocation.exit_status, 0);
  EXPECT_TRUE(starts_with(invocation.message, "sluice "));
  EXPECT_TRUE(invocation.message.ends_with('\n'));
}

TEST_F(CommandLine, CheckIsAnActionOfItsOwn) {
  const Invocation invocation = run_route({"--check"});
  EXPECT_EQ(invocation.action, Invocation::Action::check);
  EXPECT_EQ(invocation.config.routes.size(), 1u);
  EXPECT_EQ(usage_error(run({"--check"})),
            "no route, expected --listen ADDR and --to ADDR, or --config FILE");
  EXPECT_EQ(usage_error(run_route({"--check=false"})),
            "--check: takes no value, expected nothing after it");
}

TEST_F(CommandLine, AnUnknownOptionNamesTheNearest) {
  EXPECT_EQ(usage_error(run_route({"--idle-timeot", "5s"})),
            "--idle-timeot: unknown option; did you mean --idle-timeout?");
  EXPECT_EQ(usage_error(run_route({"--wrokers=5"})),
            "--wrokers: unknown option; did you mean --workers?");
  EXPECT_EQ(usage_error(run_route({"--frobnicate"})),
            "--frobnicate: unknown option, see sluice --help");
  EXPECT_EQ(usage_error(run_route({"-w", "3"})), "-w: unknown option, see sluice --help");
  // Only the file has this key.
  EXPECT_EQ(usage_error(run_route({"--name", "x"})), "--name: unknown option, see sluice --help");
}

TEST_F(CommandLine, AnArgumentWithoutAnOptionIsRefused) {
  EXPECT_EQ(usage_error(run_route({"extra"})),
            "unexpected argument \"extra\", expected only options");
  EXPECT_EQ(usage_error(run({"--listen", ":1", ":2", "--to", "echo:"})),
            "unexpected argument \":2\", expected only options");
  EXPECT_EQ(usage_error(run_route({"a\nb"})),
            "unexpected argument \"a\\x0ab\", expected only options");
}

TEST_F(CommandLine, AMissingValueIsToldWithWhatWasExpected) {
  EXPECT_EQ(usage_error(run({"--listen"})), "--listen: missing value, expected ADDR");
  EXPECT_EQ(usage_error(run_route({"--idle-timeout"})),
            "--idle-timeout: missing value, expected DURATION (0 (never), or 1ms to 365d)");
  EXPECT_EQ(usage_error(run({"--listen", ":1", "--to="})), "--to: missing value, expected ADDR");
  EXPECT_EQ(usage_error(run({"--listen", ":1", "--to", ""})), "--to: missing value, expected ADDR");
  EXPECT_EQ(usage_error(run({"--config", "--check"})), "--config: missing value, expected FILE");
  EXPECT_EQ(usage_error(run({"--to", "--listen", ":1"})), "--to: missing value, expected ADDR");
}

TEST_F(CommandLine, ListenAndToBelongTogether) {
  EXPECT_EQ(usage_error(run({"--listen", ":1"})), "--listen: given without --to, expected both");
  EXPECT_EQ(usage_error(run({"--to", "a:1"})), "--to: given without --listen, expected both");
}

TEST_F(CommandLine, RoutesComeFromTheFileOrFromOptionsNotBoth) {
  EXPECT_EQ(usage_error(run({"--config", "x", "--listen", ":1"})),
            "--listen: given with --config, expected only one of them");
  EXPECT_EQ(usage_error(run({"--config", "x", "--to", "a:1"})),
            "--to: given with --config, expected only one of them");
}

TEST_F(CommandLine, ABadAddressIsAUsageError) {
  EXPECT_EQ(usage_error(run({"--listen", "localhost", "--to", "a:1"})),
            "--listen: missing port in \"localhost\": expected HOST:PORT, [IPV6]:PORT, :PORT or "
            "unix:/path");
  EXPECT_EQ(usage_error(run({"--listen", ":1", "--to", "a:0"})),
            "--to: port 0 in \"a:0\": expected a number of 1 to 65535 to connect to");
}

TEST_F(CommandLine, TheSameListenAddressTwiceIsRefused) {
  const auto twice = [](const char* a, const char* b) {
    return usage_error(run({"--listen", a, "--listen", b, "--to", "echo:"}));
  };
  EXPECT_EQ(twice("a:1", "a:1"),
            "--listen: \"a:1\" is listened on already, expected each address once");
  EXPECT_NE(twice("[::1]:1", "[0:0::1]:1").find("already"), std::string::npos);
  EXPECT_NE(twice(":1", "0.0.0.0:1").find("already"), std::string::npos);
  EXPECT_NE(twice("[::]:1", ":1").find("already"), std::string::npos);
  EXPECT_NE(twice("Host:1", "hOST:1").find("already"), std::string::npos);
  EXPECT_NE(twice("unix:/a", "unix:/a").find("already"), std::string::npos);
}

TEST_F(CommandLine, DifferentListenAddressesAndPortZeroAreNot) {
  const Config config =
      good(run({"--listen", ":0", "--listen", ":0", "--listen", "0.0.0.0:1", "--listen", "[::]:1",
                "--listen", "unix:/a", "--listen", "unix:/A", "--to", "echo:"}));
  EXPECT_EQ(config.routes[0].listen.size(), 6u);
}

TEST_F(CommandLine, ADurationNeedsItsUnitAndItsBounds) {
  EXPECT_EQ(usage_error(run_route({"--idle-timeout", "5"})),
            "--idle-timeout: missing unit in \"5\": expected a number with a unit (ns, us, ms, s, "
            "m, h, d), as in 200ms, 5s or 1m30s");
  EXPECT_EQ(usage_error(run_route({"--idle-timeout", "366d"})),
            "--idle-timeout: out of bounds in \"366d\": expected 0 (never), or 1ms to 365d");
  EXPECT_EQ(usage_error(run_route({"--idle-timeout", "1us"})),
            "--idle-timeout: out of bounds in \"1us\": expected 0 (never), or 1ms to 365d");
  EXPECT_EQ(usage_error(run_route({"--connect-timeout", "0"})),
            "--connect-timeout: out of bounds in \"0\": expected 1ms to 1h");
  EXPECT_EQ(usage_error(run_route({"--drain-timeout=25h"})),
            "--drain-timeout: out of bounds in \"25h\": expected 0 (at once), or 1ms to 1d");
  EXPECT_TRUE(starts_with(usage_error(run_route({"--half-close-timeout", "-5s"})),
                          "--half-close-timeout: missing number"));
  EXPECT_EQ(good(run_route({"--idle-timeout", "365d"})).routes[0].idle_timeout, 8760h);
  EXPECT_EQ(good(run_route({"--connect-timeout", "1ms"})).routes[0].connect_timeout, 1ms);
}

TEST_F(CommandLine, ACountHasItsBounds) {
  EXPECT_EQ(usage_error(run_route({"--workers", "0"})),
            "--workers: out of bounds in \"0\": expected 1 to 256");
  EXPECT_EQ(usage_error(run_route({"--workers", "257"})),
            "--workers: out of bounds in \"257\": expected 1 to 256");
  for (const char* text : {"two", "-1", "1.5", "1k", "99999999999999999999", " 1"}) {
    EXPECT_EQ(usage_error(run_route({"--workers", text})),
              "--workers: no whole number in \"" + std::string(text) + "\": expected 1 to 256");
  }
  EXPECT_EQ(good(run_route({"--workers", "256"})).workers, 256);
  EXPECT_EQ(good(run_route({"--max-connections", "1000000"})).max_connections, 1'000'000u);
  EXPECT_EQ(usage_error(run_route({"--max-connections", "1000001"})),
            "--max-connections: out of bounds in \"1000001\": expected 1 to 1000000");
}

TEST_F(CommandLine, ASizeHasItsBounds) {
  EXPECT_TRUE(starts_with(usage_error(run_route({"--pipe-size", "65536"})),
                          "--pipe-size: missing unit in \"655"));
  EXPECT_EQ(usage_error(run_route({"--pipe-size", "65535B"})),
            "--pipe-size: out of bounds in \"65535B\": expected 64KiB to 16MiB");
  EXPECT_EQ(usage_error(run_route({"--pipe-size", "17MiB"})),
            "--pipe-size: out of bounds in \"17MiB\": expected 64KiB to 16MiB");
  EXPECT_EQ(good(run_route({"--pipe-size", "16MiB"})).pipe_size_bytes, 16u << 20);
}

TEST_F(CommandLine, AnUnknownChoiceNamesTheNearest) {
  EXPECT_EQ(usage_error(run_route({"--engine", "urin"})),
            "--engine: unknown value \"urin\": expected auto, uring or epoll; did you mean "
            "\"uring\"?");
  EXPECT_EQ(usage_error(run_route({"--log-format", "xml"})),
            "--log-format: unknown value \"xml\": expected text or json");
  EXPECT_TRUE(starts_with(usage_error(run_route({"--zero-copy", "Auto"})),
                          "--zero-copy: unknown value \"Auto\""));
}

TEST_F(CommandLine, AListOfCpusIsCheckedWhole) {
  const auto error = [](const char* text) {
    return usage_error(run_route({"--cpu-affinity", text}));
  };
  const std::string expected = "expected auto, none or a list of CPUs of 0 to 1023 such as 0,2-3";
  for (const char* text : {"all", "0,", ",0", "1-", "-1", "1-2-3", "0 1", "0,x"}) {
    EXPECT_EQ(error(text),
              "--cpu-affinity: no list of CPUs in \"" + std::string(text) + "\": " + expected);
  }
  EXPECT_EQ(error("3-2"), "--cpu-affinity: CPUs \"3-2\" in \"3-2\": " + expected);
  EXPECT_EQ(error("0,1024"), "--cpu-affinity: CPUs \"1024\" in \"0,1024\": " + expected);
  EXPECT_TRUE(starts_with(error("0-18446744073709551615"), "--cpu-affinity: CPUs \""));
  EXPECT_EQ(error("0-3,2"), "--cpu-affinity: CPU 2 twice in \"0-3,2\": expected each CPU once");
  EXPECT_EQ(good(run_route({"--cpu-affinity", "7,0"})).cpu_affinity.cpus, (std::vector<int>{7, 0}));
}

TEST_F(CommandLine, ABudgetThatHoldsNoPipeIsRefused) {
  EXPECT_EQ(usage_error(run_route({"--pipe-budget", "255"})),
            "--pipe-budget: a budget of 255 slots is too small for a pipe of 1MiB: expected a "
            "pipe-budget of "
            "at least 256 or a smaller pipe-size");
  EXPECT_EQ(good(run_route({"--pipe-budget", "256"})).pipe_budget_slots, 256u);
  EXPECT_EQ(good(run_route({"--pipe-budget", "16", "--pipe-size", "64KiB"})).pipe_budget_slots,
            16u);
  // The kernel rounds this up to 128 KiB.
  EXPECT_NE(usage_error(run_route({"--pipe-budget", "31", "--pipe-size", "65KiB"})).find("32"),
            std::string::npos);
  EXPECT_TRUE(
      starts_with(usage_error(run_route({"--pipe-budget", "15"})), "--pipe-budget: out of bounds"));
}

TEST_F(CommandLine, ALogFilesPathIsBounded) {
  EXPECT_EQ(good(run_route({"--log-file", "relative.log"})).log_file, "relative.log");
  EXPECT_TRUE(starts_with(usage_error(run_route({"--log-file", std::string(4'096, 'x')})),
                          "--log-file: no path i"));
}

TEST_F(ConfigFile, TheExampleIsRead) {
  const Config config = load(
      "[defaults]\n"
      "idle-timeout = \"1h\"\n"
      "[[route]]\n"
      "name   = \"orders\"\n"
      "listen = [\"0.0.0.0:5432\", \"unix:/run/orders.sock\"]   # a string or an array\n"
      "to     = \"10.0.0.2:5432\"\n");
  ASSERT_EQ(config.routes.size(), 1u);
  EXPECT_EQ(config.routes[0].name, "orders");
  ASSERT_EQ(config.routes[0].listen.size(), 2u);
  EXPECT_EQ(to_string(config.routes[0].listen[1]), "unix:/run/orders.sock");
  EXPECT_EQ(to_string(config.routes[0].target()), "10.0.0.2:5432");
}

TEST_F(ConfigFile, EveryKeyIsTaken) {
  const Config config = load(with_defaults(
      "workers = 3\nengine = \"uring\"\nzero-copy = \"never\"\nconnect-timeout = \"1s\"\n"
      "idle-timeout = \"2s\"\nhalf-close-timeout = \"3s\"\ndrain-timeout = 0\n"
      "max-connections = 5\ncpu-affinity = \"1\"\npipe-size = \"128KiB\"\npipe-budget = 64\n"
      "log-level = \"off\"\nlog-format = \"json\"\nlog-file = \"/x\""));
  EXPECT_EQ(config.workers, 3);
  EXPECT_EQ(config.engine, Engine::uring);
  EXPECT_EQ(config.routes[0].zero_copy, ZeroCopy::never);
  EXPECT_EQ(config.routes[0].connect_timeout, 1s);
  EXPECT_EQ(config.routes[0].idle_timeout, 2s);
  EXPECT_EQ(config.routes[0].half_close_timeout, 3s);
  EXPECT_EQ(config.drain_timeout, 0s);
  EXPECT_EQ(config.max_connections, 5u);
  EXPECT_EQ(config.cpu_affinity.cpus, std::vector<int>{1});
  EXPECT_EQ(config.pipe_size_bytes, 128u << 10);
  EXPECT_EQ(config.pipe_budget_slots, 64u);
  EXPECT_EQ(config.log_level, LogLevel::off);
  EXPECT_EQ(config.log_format, LogFormat::json);
  EXPECT_EQ(config.log_file, "/x");
}

TEST_F(ConfigFile, ARouteBeatsTheDefaultsWhereverTheyStand) {
  const Config config = load(
      "[[route]]\nname = \"a\"\nlisten = \":1\"\nto = \"echo:\"\nidle-timeout = \"5m\"\n"
      "[[route]]\nname = \"b\"\nlisten = \":2\"\nto = \"echo:\"\n"
      "[defaults]\nidle-timeout = \"2m\"\nconnect-timeout = \"2s\"\n");
  ASSERT_EQ(config.routes.size(), 2u);
  EXPECT_EQ(config.routes[0].idle_timeout, 5min);
  EXPECT_EQ(config.routes[0].connect_timeout, 2s);
  EXPECT_EQ(config.routes[1].idle_timeout, 2min);
  EXPECT_EQ(config.routes[1].half_close_timeout, 30s);
}

TEST_F(ConfigFile, TheCommandLineBeatsBoth) {
  const Config config = load(
      "[defaults]\nidle-timeout = \"2m\"\nworkers = 2\nengine = \"uring\"\n"
      "[[route]]\nname = \"a\"\nlisten = \":1\"\nto = \"echo:\"\nidle-timeout = \"5m\"\n"
      "[[route]]\nname = \"b\"\nlisten = \":2\"\nto = \"echo:\"\n",
      {"--idle-timeout", "7m", "--workers", "4"});
  EXPECT_EQ(config.routes[0].idle_timeout, 7min);
  EXPECT_EQ(config.routes[1].idle_timeout, 7min);
  EXPECT_EQ(config.workers, 4);
  EXPECT_EQ(config.engine, Engine::uring);
}

TEST_F(ConfigFile, AdminHoldsForTheProcess) {
  const Config config = load(
      with_defaults("admin = [\"unix:/run/admin.sock\", \":9090\"]\nadmin-host = \"a.example\"\n"
                    "admin-token-file = \"/run/token\"\nlame-duck = \"3s\""));
  EXPECT_EQ(config.admin.size(), 2u);
  EXPECT_EQ(config.admin_hosts, std::vector<std::string>{"a.example"});
  EXPECT_EQ(config.admin_token_file, "/run/token");
  EXPECT_EQ(config.lame_duck, 3s);
  EXPECT_EQ(load_error(with_route("admin = \":9090\"\n")),
            "5:1: key \"admin\": holds for the whole process, expected in [defaults]");
  EXPECT_EQ(load_error("[defaults]\nworkers = 1\nadmin = [\":8\", \"0.0.0.0:1\"]\n" +
                       std::string(kRoute)),
            "3:9: key \"admin\": \"0.0.0.0:1\" is listened on already, expected each address "
            "once");
  EXPECT_EQ(load_error(with_defaults("admin-host = 5")),
            "2:14: key \"admin-host\": wrong type integer, expected a string with a name, or an "
            "array of them");
}

TEST_F(ConfigFile, AdminOfTheCommandLineReplacesThatOfTheFile) {
  const std::string text =
      "[defaults]\nadmin = \":1\"\n[[route]]\nname = \"a\"\nlisten = \":1\"\nto = "
      "\"echo:\"\n";
  const Config config = load(text, {"--admin", ":2"});
  ASSERT_EQ(config.admin.size(), 1u);
  EXPECT_EQ(to_string(config.admin[0]), ":2");
}

TEST_F(ConfigFile, CheckReadsTheFileAsWell) {
  write(kRoute);
  EXPECT_EQ(run({"--config", path_, "--check"}).action, Invocation::Action::check);
  write("[[route]]\nname = 5\n");
  EXPECT_EQ(run({"--config", path_, "--check"}).exit_status, 1);
}

TEST_F(ConfigFile, RoutesRecordAsTheyOrTheDefaultsSay) {
  const Config config = load(
      "[defaults]\ncapture = \"/a\"\ndurability = \"none\"\n"
      "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\ncapture-exact = true\n"
      "capture-limit = \"1MiB\"\n"
      "[[route]]\nname = \"two\"\nlisten = \":3\"\nto = \":4\"\ncapture = \"/b\"\n"
      "capture-direction = \"client\"\nretain-size = 0\nsegment-time = \"5m\"\n");
  ASSERT_EQ(config.routes.size(), 2U);
  const RouteConfig& one = config.routes[0];
  EXPECT_EQ(one.capture, "/a");
  EXPECT_EQ(one.durability, capture::Durability::none);
  EXPECT_TRUE(one.capture_exact);
  EXPECT_EQ(one.capture_limit_bytes, 1U << 20);
  const RouteConfig& two = config.routes[1];
  EXPECT_EQ(two.capture, "/b");
  EXPECT_FALSE(two.capture_exact);
  EXPECT_EQ(two.capture_direction, CaptureDirection::client);
  EXPECT_EQ(two.segment_time, std::chrono::minutes(5));
}

TEST_F(ConfigFile, ARoutesMirrorsReplaceThoseOfTheDefaults) {
  const std::string text =
      "[defaults]\nmirror = [\":5\", \":6\"]\nmirror-sample = 0.1\n"
      "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\nmirror = \":7\"\n"
      "mirror-sample = 1\nmirror-max-lag = \"64KiB\"\n"
      "[[route]]\nname = \"two\"\nlisten = \":3\"\nto = \":4\"\nmirror-on-lag = \"shed\"\n"
      "[[route]]\nname = \"three\"\nlisten = \":8\"\nto = \":9\"\nmirror = []\n";
  const Config config = load(text);
  ASSERT_EQ(config.routes.size(), 3U);
  ASSERT_EQ(config.routes[0].mirrors.size(), 1U);
  EXPECT_EQ(to_string(config.routes[0].mirrors[0]), ":7");
  EXPECT_EQ(config.routes[0].mirror_sample, 1'000'000U);
  EXPECT_EQ(config.routes[0].mirror_max_lag_bytes, 64U << 10);
  ASSERT_EQ(config.routes[1].mirrors.size(), 2U);
  EXPECT_EQ(config.routes[1].mirror_sample, 100'000U);
  EXPECT_EQ(config.routes[1].mirror_on_lag, mirror::OnLag::shed);
  EXPECT_TRUE(config.routes[2].mirrors.empty());
  for (const RouteConfig& route : load(text, {"--mirror", ":10", "--mirror", ":11"}).routes) {
    ASSERT_EQ(route.mirrors.size(), 2U);
    EXPECT_EQ(to_string(route.mirrors[1]), ":11");
  }
}

TEST_F(ConfigFile, ServersHaveWeightsAndBackups) {
  const auto servers_of = [&](const std::string& to) {
    return load("[[route]]\nname = \"a\"\nlisten = \":1\"\nto = " + to).routes[0].to;
  };
  EXPECT_EQ(servers_of("\"a:1\"").size(), 1U);
  EXPECT_EQ(servers_of("[\"a:1\", \"b:1\"]").size(), 2U);
  const std::vector<ServerConfig> servers = servers_of(
      "[\"a:1\", { address = \"b:1\", weight = 256 },\n{ address = \"c:1\", backup = true, "
      "weight = 0 }]");
  ASSERT_EQ(servers.size(), 3U);
  EXPECT_EQ(servers[0].weight, 1U);
  EXPECT_EQ(to_string(servers[1].address), "b:1");
  EXPECT_EQ(servers[1].weight, 256U);
  EXPECT_FALSE(servers[1].backup);
  EXPECT_EQ(servers[2].weight, 0U);
  EXPECT_TRUE(servers[2].backup);
}

TEST_F(ConfigFile, AWrongServerIsReportedWithItsPlace) {
  const auto error_of = [&](const std::string& to) {
    return load_error("[[route]]\nname = \"a\"\nlisten = \":1\"\nto = " + to);
  };
  EXPECT_EQ(error_of("[]"), "4:6: key \"to\": empty array, expected at least one address");
  EXPECT_EQ(error_of("[\"a:1\", 5]"),
            "4:14: key \"to\": wrong type integer, expected a string with an address, a table, or "
            "an array of them");
  EXPECT_EQ(error_of("{ weight = 1 }"),
            "4:6: key \"address\": missing, expected a string with an address");
  EXPECT_EQ(error_of("[{ address = \"a\" }]"),
            "4:19: key \"to\": missing port in \"a\": expected HOST:PORT, [IPV6]:PORT, :PORT, "
            "dns:HOST:PORT, srv:_NAME._tcp.DOMAIN, unix:/path, file:/path, discard: or echo:");
  EXPECT_EQ(error_of("{ address = \"srv:_a._tcp.b\", weight = 1 }"),
            "4:44: key \"weight\": given with \"srv:_a._tcp.b\", whose records have weights, "
            "expected none");
  EXPECT_EQ(error_of("{ address = \"a:1\", connections = -1 }"),
            "4:39: key \"connections\": -1 is out of bounds, expected 0 (no limit), or 1 to "
            "1000000");
  EXPECT_EQ(error_of("{ address = \"a:1\", weight = 257 }"),
            "4:34: key \"weight\": 257 is out of bounds, expected 0 to 256");
  EXPECT_EQ(error_of("{ address = \"a:1\", weight = \"1\" }"),
            "4:34: key \"weight\": wrong type string, expected an integer, 0 to 256");
  EXPECT_EQ(error_of("{ address = \"a:1\", backup = 1 }"),
            "4:34: key \"backup\": wrong type integer, expected true or false");
  EXPECT_EQ(error_of("{ address = \"a:1\", wieght = 1 }"),
            "4:25: key \"wieght\": unknown key, expected one of address, weight, backup or "
            "connections; did "
            "you mean \"weight\"?");
  EXPECT_EQ(error_of("{ address = \"a:1\", weight = 0 }"),
            "1:1: key \"to\": all weights are 0, expected one above 0");
  EXPECT_EQ(error_of("[\"a:1\", { address = \"a:1\", backup = true }]"),
            "1:1: key \"to\": \"a:1\" is given twice, expected each once");
}

// A route may lead to another one.
TEST_F(ConfigFile, RoutesGoInNoCircle) {
  const auto chain = [](const std::string& last) {
    std::string text;
    for (const auto& [name, to] :
         std::map<std::string, std::string>{{"1", ":2"}, {"2", "localhost:3"}, {"3", last}}) {
      text +=
          "[[route]]\nname = \"" + name + "\"\nlisten = \":" + name + "\"\nto = \"" + to + "\"\n";
    }
    return text;
  };
  const std::string back = " leads back to a listener of this route, expected another server";
  EXPECT_EQ(load(chain(":4")).routes.size(), 3U);
  EXPECT_EQ(load_error(chain(":1")), "1:1: key \"to\": \":2\"" + back);
  EXPECT_EQ(load_error(chain(":2")), "5:1: key \"to\": \"localhost:3\"" + back);
  // One name that leads to more than one route.
  const std::string four = "[[route]]\nname = \"4\"\nlisten = \"127.0.0.1:5\"\nto = \":9\"\n";
  const std::string six = "[[route]]\nname = \"6\"\nlisten = \"[::1]:5\"\nto = \"localhost:5\"\n";
  EXPECT_EQ(load_error(four + six), "5:1: key \"to\": \"localhost:5\"" + back);
  EXPECT_EQ(load_error(six + four), "1:1: key \"to\": \"localhost:5\"" + back);
}

TEST_F(ConfigFile, NamesOfServersHaveAnInterval) {
  const RouteConfig route =
      load(
          "[defaults]\nresolve-interval = \"1m\"\n[[route]]\nname = \"a\"\nlisten = \":1\"\n"
          "to = [{ address = \"dns:b:1\", weight = 3 }, { address = \"srv:_c._tcp.d\", "
          "backup = true }, \"e:1\"]\n")
          .routes[0];
  EXPECT_EQ(route.resolve_interval, std::chrono::minutes(1));
  EXPECT_EQ(route.to[0].weight, 3U);
  EXPECT_TRUE(route.to[1].backup);
  EXPECT_EQ(load_error("[[route]]\nname = \"a\"\nlisten = \":1\"\nto = \"dns:b:1\"\n"
                       "resolve-interval = \"99ms\"\n"),
            "5:20: key \"resolve-interval\": out of bounds in \"99ms\": expected 100ms to 1h");
}

TEST_F(ConfigFile, TheServersThatLeadBackAreNamed) {
  const std::string two = "[[route]]\nname = \"2\"\nlisten = \":2\"\nto = \":9\"\n";
  EXPECT_EQ(load_error("[[route]]\nname = \"1\"\nlisten = \":1\"\n"
                       "to = [\"127.0.0.1:2\", \"127.0.0.1:1\"]\n" +
                       two),
            "1:1: key \"to\": \"127.0.0.1:1\" leads back to a listener of this route, expected "
            "another server");
}

TEST_F(ConfigFile, AMirrorIsNoRoutesListener) {
  const std::string one = "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\n";
  const std::string two = "[[route]]\nname = \"two\"\nlisten = \":3\"\nto = \":4\"\n";
  EXPECT_EQ(load_error(one + two + "mirror = [\":5\", \"localhost:1\"]\n"),
            "5:1: key \"mirror\": \"localhost:1\" is one of sluice's own listeners, expected "
            "another server");
}

TEST_F(ConfigFile, AWrongMirrorIsToldWithItsPlace) {
  EXPECT_EQ(
      load_error(with_route("mirror = [\":5\", \"echo:\"]\n")),
      "5:17: key \"mirror\": no address of a server in \"echo:\": expected HOST:PORT, [IPV6]:PORT, "
      ":PORT or unix:/path");
  EXPECT_EQ(load_error(with_route("mirror = 5\n")),
            "5:10: key \"mirror\": wrong type integer, expected a string with an address, or an "
            "array of them");
  EXPECT_EQ(load_error(with_route("mirror-sample = 1.5\n")),
            "5:17: key \"mirror-sample\": out of bounds in \"1.5\": expected 0.000001 to 1");
  EXPECT_EQ(load_error(with_route("mirror-sample = true\n")),
            "5:17: key \"mirror-sample\": wrong type boolean, expected a number, 0.000001 to 1");
}

TEST_F(ConfigFile, RoutesThatShareACaptureMustAgree) {
  const std::string one =
      "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\ncapture = \"/a\"\n";
  const std::string two =
      "[[route]]\nname = \"two\"\nlisten = \":3\"\nto = \":4\"\ncapture = \"/a\"\n";
  EXPECT_EQ(load(one + two + "capture-limit = \"1KiB\"\n").routes.size(), 2U);
  EXPECT_EQ(
      load_error(one + two + "durability = \"none\"\n"),
      "6:1: key \"capture\": \"/a\" is also the directory of route \"one\", expected the same "
      "capture settings for both");
}

TEST_F(ConfigFile, ACaptureCanBeginSwitchedOff) {
  const std::string route =
      "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\ncapture = \"/a\"\n";
  EXPECT_TRUE(load(route).routes.at(0).capture_enabled);
  EXPECT_FALSE(load(route + "capture-enabled = false\n").routes.at(0).capture_enabled);
  EXPECT_FALSE(load("[defaults]\ncapture-enabled = false\n" + route).routes.at(0).capture_enabled);
  EXPECT_EQ(load_error("[[route]]\nname = \"sink\"\nlisten = \":1\"\nto = \"discard:\"\n"
                       "capture = \"/a\"\ncapture-enabled = false\n"),
            "1:1: key \"capture-enabled\": false with discard: and capture, which confirms to its "
            "clients what is durable, expected true");
  EXPECT_EQ(load_error("[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\n"
                       "capture-enabled = false\n"),
            "5:1: key \"capture-enabled\": given without capture, expected both in this route");
}

TEST_F(ConfigFile, WhatCannotBeRecordedIsRefused) {
  EXPECT_EQ(load_error("[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\n"
                       "capture = \"/a\"\ndurability = \"before-forward\"\n"
                       "capture-full = \"drop\"\n"),
            "1:1: key \"capture-full\": drop with before-forward, expected auto, block or close");
  EXPECT_EQ(load_error("[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\n"
                       "capture-exact = \"yes\"\n"),
            "5:17: key \"capture-exact\": wrong type string, expected true or false");
  EXPECT_EQ(load_error("[[route]]\nname = \"one\"\nlisten = [\":1\", \"unix:/s\"]\n"
                       "to = \"discard:\"\ncapture = \"/a\"\n"),
            "1:1: key \"listen\": a unix socket with discard: and capture, which cannot report a "
            "loss to its client, expected TCP addresses");
}

TEST_F(ConfigFile, HowToRecordIsForRoutesThatAreRecorded) {
  const std::string route = "[[route]]\nname = \"one\"\nlisten = \":1\"\nto = \":2\"\n";
  EXPECT_EQ(load_error(route + "idle-timeout = \"1m\"\ndurability = \"before-forward\"\n"),
            "6:1: key \"durability\": given without capture, expected both in this route");
  EXPECT_EQ(load_error(route + "retain-size = \"1GiB\"\n"),
            "5:1: key \"retain-size\": given without capture, expected both in this route");
  EXPECT_EQ(load("[defaults]\ncapture = \"/a\"\n" + route + "durability = \"none\"\n")
                .routes[0]
                .durability,
            capture::Durability::none);
  EXPECT_EQ(load("[defaults]\ndurability = \"none\"\n" + route).routes.size(), 1U);
}

TEST_F(ConfigFile, ChecksAreKeysOfRoutesAndDefaults) {
  const RouteConfig route =
      load(with_route("health = \"exchange\"\nhealth-send = \"PING\\r\\n\"\n"
                      "health-expect = \"hex:2b504F4e47\"\nhealth-interval = \"500ms\"\n"
                      "health-timeout = \"50ms\"\nhealth-rise = 1\nhealth-fall = 100\n"
                      "on-down = \"reset\"\n"))
          .routes[0];
  EXPECT_EQ(route.health, Health::exchange);
  EXPECT_EQ(route.health_send, "PING\r\n");
  EXPECT_EQ(route.health_expect, "+PONG");
  EXPECT_EQ(route.health_interval, 500ms);
  EXPECT_EQ(route.health_timeout, 50ms);
  EXPECT_EQ(route.health_rise, 1U);
  EXPECT_EQ(route.health_fall, 100U);
  EXPECT_EQ(route.on_down, OnDown::reset);
  const Config defaults = load(with_defaults("health = \"tcp\""));
  EXPECT_EQ(defaults.routes[0].health, Health::tcp);
  EXPECT_EQ(defaults.routes[0].on_down, OnDown::keep);
  EXPECT_FALSE(defaults.routes[0].health_send);
}

TEST_F(ConfigFile, MatchesNameOtherRoutes) {
  const std::string edge = "[[route]]\nname = \"edge\"\nlisten = \":1\"\n";
  const std::string web = "[[route]]\nname = \"web\"\nto = \"a:1\"\n";
  const auto match = [](const std::string& keys) { return "[[route.match]]\n" + keys + "\n"; };
  const std::string to_web = match("sni = [\"A.example\", \"*.b\"]\nroute = \"web\"");
  const Config config = load(edge + to_web + match("route = \"ssh\"\nprotocol = \"ssh\"") + web +
                             "[[route]]\nname = \"ssh\"\nto = \"b:22\"\n");
  ASSERT_EQ(config.routes[0].matches.size(), 2U);
  EXPECT_TRUE(config.routes[0].to.empty());
  EXPECT_EQ(config.routes[0].matches[0].sni, (std::vector<std::string>{"a.example", "*.b"}));
  EXPECT_EQ(config.routes[0].matches[0].to_route, 1U);
  EXPECT_EQ(config.routes[0].matches[1].to_route, 2U);
  EXPECT_TRUE(config.routes[1].listen.empty());
  const auto expect_error = [&](const std::string& text, const std::string& error) {
    const std::string found = load_error(text);
    EXPECT_NE(found.find(error), std::string::npos) << found;
  };
  expect_error(edge + match("route = \"webb\"") + web,
               "key \"match\": \"webb\" is no route, expected the name of another route");
  expect_error(edge + match("route = \"edge\""),
               "key \"match\": \"edge\" has matches itself, expected a route without");
  expect_error(edge + match("sni = \"a\"") + web,
               "key \"route\": missing in this match, expected the name of a route");
  expect_error(edge + match("sny = \"a\"\nroute = \"web\"") + web,
               "key \"sny\": unknown key, expected one of sni, alpn, protocol, prefix, source or "
               "route; did you mean \"sni\"?");
  expect_error(edge + match("sni = [\"a\", 5]\nroute = \"web\"") + web,
               "key \"sni\": wrong type integer, expected a string, or an array of them");
  expect_error(edge + match("prefix = \"hex:0\"\nroute = \"web\"") + web,
               "no pairs of hexadecimal digits");
  expect_error(edge + "match = 5\n" + web, "expected [[route.match]] tables");
  expect_error(edge + "match = []\n", "empty array, expected at least one match");
  expect_error(edge + match("sni = []\nroute = \"web\"") + web,
               "key \"sni\": empty array, expected at least one value");
  expect_error("[[route]]\nname = \"edge\"\nlisten = \"unix:/s\"\n" + match("route = \"web\"") +
                   "[[route]]\nname = \"web\"\nto = \"discard:\"\ncapture = \"/c\"\n",
               "a unix socket with discard: and capture");
  EXPECT_TRUE(load("[defaults]\nhealth = \"exchange\"\n" + edge + match("route = \"web\"") +
                   "[[route]]\nname = \"web\"\nto = \"a:1\"\nhealth = \"none\"\n")
                  .routes[0]
                  .to.empty());
  expect_error(edge + "to = \"a:2\"\n" + web,
               "key \"listen\": missing in this route, and no match leads to it");
  expect_error(edge, "key \"to\": missing in this route");
  expect_error(edge + match("route = \"web\"") + "[[route]]\nname = \"web\"\nto = \":1\"\n",
               "leads back to a listener of this route, expected another server");
}

TEST_F(ConfigFile, ProxyHeadersNeedSomebodyToBelieve) {
  const RouteConfig route =
      load(with_route("proxy-in = \"trusted\"\nproxy-trust = [\"10.0.0.0/8\", \"unix:\"]\n"
                      "proxy-out = \"v2\"\nproxy-tlvs = [\"crc32c\", \"unique-id\", \"crc32c\"]\n"
                      "peek-timeout = \"1s\"\n"))
          .routes[0];
  EXPECT_EQ(route.proxy_in, ProxyIn::trusted);
  EXPECT_EQ(route.proxy_trust.size(), 2U);
  EXPECT_EQ(route.proxy_out, ProxyOut::v2);
  EXPECT_EQ(route.proxy_tlvs, (std::vector<ProxyTlv>{ProxyTlv::crc32c, ProxyTlv::unique_id}));
  EXPECT_EQ(route.peek_timeout, 1s);
  EXPECT_EQ(load(with_route("proxy-trust = \"::1\"\n")).routes[0].proxy_trust.size(), 1U);
  const auto expect_error = [&](const std::string& key, const std::string& error) {
    const std::string found = load_error(with_route(key + "\n"));
    EXPECT_NE(found.find(error), std::string::npos) << found;
  };
  expect_error("proxy-in = \"required\"",
               "proxy-in\": given without proxy-trust, expected both: who may send such headers");
  expect_error("proxy-trust = \"10.0.0.1/8\"", "an address inside a block in \"10.0.0.1/8\"");
  expect_error("proxy-trust = [\"::1\", \"::1\"]", "\"::1\" is given twice");
  expect_error("proxy-trust = 5", "wrong type integer, expected a string with a block");
  expect_error("proxy-tlvs = \"alpn\"", "unknown value \"alpn\"");
  expect_error("proxy-out = \"v3\"", "unknown value \"v3\": expected off, v1 or v2");
}

TEST_F(ConfigFile, ASourceIsAnAddressWithoutAPort) {
  const RouteConfig route =
      load(with_route("source = \"::ffff:10.0.0.9\"\nkeepalive = \"30s\"\nuser-timeout = 0\n"))
          .routes[0];
  EXPECT_EQ(route.source.to_string(), "10.0.0.9:0");
  EXPECT_EQ(route.keepalive, 30s);
  EXPECT_EQ(route.user_timeout, 0s);
  for (const char* wrong : {"10.0.0.9:80", "[::1]", "example.com", "", "10.0.0.0/8", "unix:"}) {
    const std::string text = "\"" + std::string(wrong) + "\"";
    const std::string error = load_error(with_route("source = " + text + "\n"));
    EXPECT_NE(error.find("key \"source\": no address in " + text +
                         ": expected an IPv4 or IPv6 address without a port"),
              error.npos)
        << error;
  }
  EXPECT_NE(load_error(with_route("keepalive = \"500ms\"\n"))
                .find("0 (as the system has it), or 1s to 9h6m7s"),
            std::string::npos);
}

TEST_F(ConfigFile, ARateIsANumberForASecondOrAMinute) {
  const auto rate = [&](const std::string& text) {
    return load(with_route("source-rate = " + text + "\n")).routes[0].source_rate;
  };
  EXPECT_EQ(rate("\"100/s\""), 6'000U);
  EXPECT_EQ(rate("\"600/m\""), 600U);
  EXPECT_EQ(rate("0"), 0U);
  EXPECT_EQ(rate("\"1000000/s\""), 60'000'000U);
  for (const char* wrong :
       {"5", "\"5\"", "\"/s\"", "\"5/h\"", "\"-1/s\"", "\"1.5/s\"", "\"1000001/s\"",
        "\"99999999999999999999/s\"", "\"1099511627777/s\"", "\"0/s \"", "true"}) {
    const std::string error = load_error(with_route("source-rate = " + std::string(wrong) + "\n"));
    EXPECT_NE(error.find("key \"source-rate\": "), error.npos) << wrong;
  }
  EXPECT_NE(load_error(with_route("source-rate = 5\n"))
                .find("no rate in \"5\": expected 0 (no limit), or 1/m to 1000000/s"),
            std::string::npos);
}

TEST_F(ConfigFile, ABandwidthIsASizeForASecond) {
  const auto bandwidth = [&](const std::string& text) {
    const RouteConfig route =
        load(with_route("connection-bandwidth = " + text + "\nroute-bandwidth = " + text + "\n"))
            .routes[0];
    EXPECT_EQ(route.connection_bandwidth, route.route_bandwidth);
    return route.route_bandwidth;
  };
  EXPECT_EQ(bandwidth("\"10MiB/s\""), 10U << 20);
  EXPECT_EQ(bandwidth("\"10MB/s\""), 10'000'000U);
  EXPECT_EQ(bandwidth("\"1024B/s\""), 1024U);
  EXPECT_EQ(bandwidth("\"64GiB/s\""), std::uint64_t{64} << 30);
  EXPECT_EQ(bandwidth("0"), 0U);
  EXPECT_EQ(bandwidth("\"0\""), 0U);
  for (const char* wrong : {"5", "\"5\"", "\"/s\"", "\"5/s\"", "\"10MiB\"", "\"10MiB/m\"",
                            "\"-1MiB/s\"", "\"1.5MiB/s\"", "\"1023B/s\"", "\"65GiB/s\"",
                            "\"99999999999TiB/s\"", "\"1MiB/s \"", "true"}) {
    const std::string error =
        load_error(with_route("route-bandwidth = " + std::string(wrong) + "\n"));
    EXPECT_NE(error.find("key \"route-bandwidth\": "), error.npos) << wrong;
  }
  EXPECT_NE(load_error(with_route("connection-bandwidth = \"5\"\n"))
                .find("no bandwidth in \"5\": expected 0 (no limit), or 1KiB/s to 64GiB/s"),
            std::string::npos);
}

TEST_F(ConfigFile, BytesOfAnExchangeAreTextOrHex) {
  const auto expect_error = [&](const std::string& key, const std::string& error) {
    EXPECT_NE(load_error(with_route(key + "\n")).find(error), std::string::npos)
        << load_error(with_route(key + "\n"));
  };
  EXPECT_EQ(load(with_route("health-send = \"\"\n")).routes[0].health_send, "");
  EXPECT_EQ(load(with_route("health-send = \"hex:\"\n")).routes[0].health_send, "");
  EXPECT_EQ(load(with_route("health-send = \"hex:00fF\"\n")).routes[0].health_send,
            std::string("\0\xff", 2));
  for (const char* wrong : {"hex:0", "hex:0g", "hex:0x00", "hex: 00", "hex:@A"}) {
    expect_error("health-send = \"" + std::string(wrong) + "\"",
                 "key \"health-send\": no pairs of hexadecimal digits in \"" + std::string(wrong) +
                     "\": expected hex: and digits such as 0d0a");
  }
  expect_error("health-expect = \"\"", "key \"health-expect\": 0 bytes, expected 1 to 4096 bytes");
  expect_error("health-send = \"" + std::string(4097, 'x') + "\"",
               "key \"health-send\": 4097 bytes, expected 0 to 4096 bytes");
  expect_error("health-send = 5", "key \"health-send\": wrong type integer, expected a string");
  expect_error("health-fall = 0", "key \"health-fall\": out of bounds in \"0\": expected 1 to 100");
  expect_error(
      "health = \"exchange\"\nhealth-send = \"x\"",
      "exchange without health-expect, expected health-send and health-expect in the file");
}

TEST_F(ConfigFile, AQueueNeedsALimitToWaitFor) {
  const std::string queue = "queue = 10\nqueue-timeout = \"1m\"\n";
  const std::string to_server = "[[route]]\nname = \"a\"\nlisten = \":1\"\nto = \"10.0.0.1:1\"\n";
  for (const std::string limit : {"route-connections = 1\n", "server-connections = 1\n"}) {
    const RouteConfig route = load(to_server + queue + limit).routes[0];
    EXPECT_EQ(route.queue, 10U);
    EXPECT_EQ(route.queue_timeout, 1min);
  }
  const RouteConfig usual = load(with_route("queue = 0\n")).routes[0];
  EXPECT_EQ(usual.queue, 0U);
  EXPECT_EQ(usual.queue_timeout, 5s);
  for (const std::string& wrong :
       {to_server + queue, with_route(queue + "server-connections = 1\n")}) {
    const std::string found = load_error(wrong);
    EXPECT_NE(found.find("queue\": given without route-connections or server-connections, "
                         "expected a limit to wait for"),
              std::string::npos)
        << found;
  }
}

TEST_F(ConfigFile, AnUnknownKeyIsToldWithItsPlaceAndTheNearest) {
  const std::string of_routes =
      "zero-copy, congestion, balance, retries, hedge-after, eject-after, eject-time, health, "
      "health-send, health-expect, health-interval, health-timeout, health-rise, health-fall, "
      "on-down, resolve-interval, allow, deny, source-connections, source-rate, "
      "server-connections, route-connections, queue, queue-timeout, connection-bandwidth, "
      "route-bandwidth, "
      "proxy-in, "
      "proxy-trust, proxy-out, proxy-tlvs, "
      "source, keepalive, user-timeout, peek-timeout, "
      "connect-timeout, "
      "idle-timeout, half-close-timeout, "
      "capture, "
      "durability, capture-full, capture-exact, capture-enabled, capture-io, capture-direction, "
      "capture-limit, "
      "flush-interval, "
      "sync-interval, segment-size, segment-time, retain-size, retain-age, mirror, mirror-max-lag, "
      "mirror-on-lag";
  EXPECT_EQ(load_error(with_defaults("idle-timeut = \"1h\"")),
            "2:1: key \"idle-timeut\": unknown key, expected one of " + of_routes +
                ", mirror-sample, drain-timeout, lame-duck, takeover-drain, workers, engine, "
                "busy-poll, max-connections, "
                "cpu-affinity, pipe-size, pipe-budget, capture-buffers, mirror-buffers, log-level, "
                "log-format, log-file, admin, admin-host, admin-token-file or takeover-socket; did "
                "you mean "
                "\"idle-timeout\"?");
  EXPECT_EQ(load_error(with_route("  lsten = \":2\"\n")),
            "5:3: key \"lsten\": unknown key, expected one of listen, to, name, " + of_routes +
                ", mirror-sample or match; did you mean \"listen\"?");
  EXPECT_EQ(load_error("[[routes]]\nname = \"a\"\n"),
            "1:3: key \"routes\": unknown key, expected one of defaults or route; did you mean "
            "\"route\"?");
}

TEST_F(ConfigFile, AnUnknownKeyThatIsNearNothingGetsNoSuggestion) {
  const std::string error = load_error(with_route("colour = \"red\"\n"));
  EXPECT_TRUE(starts_with(error, "5:1: key \"colour\": unknown key, expec"));
  EXPECT_EQ(error.find("did you mean"), std::string::npos);
  // Options that exist only on the command line are not keys.
  EXPECT_TRUE(
      starts_with(load_error(with_defaults("check = true")), "2:1: key \"check\": unknown key, "));
}

TEST_F(ConfigFile, AKeyInTheWrongPlaceIsToldTheRightOne) {
  EXPECT_EQ(load_error(with_route("workers = 2\n")),
            "5:1: key \"workers\": holds for the whole process, expected in [defaults]");
  EXPECT_EQ(load_error(with_defaults("to = \"a:1\"")),
            "2:1: key \"to\": belongs to one route, expected in [[route]]");
  EXPECT_EQ(load_error("idle-timeout = \"1h\"\n" + std::string(kRoute)),
            "1:1: key \"idle-timeout\": outside of any table, expected in [defaults]");
  EXPECT_EQ(load_error("listen = \":1\"\n"),
            "1:1: key \"listen\": outside of any table, expected in [[route]]");
}

TEST_F(ConfigFile, AMissingUnitIsToldWithTheValuesPlace) {
  EXPECT_EQ(load_error(with_defaults("idle-timeout = \"5\"")),
            "2:16: key \"idle-timeout\": missing unit in \"5\": expected a number with a unit (ns, "
            "us, ms, s, m, h, d), as in 200ms, 5s or 1m30s");
  EXPECT_TRUE(starts_with(load_error(with_route("idle-timeout =   5\n")),
                          "5:18: key \"idle-timeout\": missing unit in \"5\":"));
  EXPECT_TRUE(starts_with(load_error(with_defaults("pipe-size = 1048576")),
                          "2:13: key \"pipe-size\": missing unit in"));
}

TEST_F(ConfigFile, AWrongTypeIsNamed) {
  EXPECT_EQ(load_error(with_defaults("workers = \"2\"")),
            "2:11: key \"workers\": wrong type string, expected an integer, 1 to 256");
  EXPECT_EQ(load_error(with_defaults("workers = 2.0")),
            "2:11: key \"workers\": wrong type floating-point number, expected an integer, 1 to "
            "256");
  EXPECT_EQ(load_error(with_defaults("idle-timeout = true")),
            "2:16: key \"idle-timeout\": wrong type boolean, expected a string with a number and a "
            "unit");
  EXPECT_TRUE(starts_with(load_error(with_defaults("idle-timeout = 07:32:00")),
                          "2:16: key \"idle-timeout\": wrong type date or time"));
  EXPECT_EQ(load_error(with_defaults("engine = [\"epoll\"]")),
            "2:10: key \"engine\": wrong type array, expected a string");
  EXPECT_EQ(load_error("[defaults.log-file]\npath = \"x\"\n" + std::string(kRoute)),
            "1:1: key \"log-file\": wrong type table, expected a string");
  EXPECT_EQ(load_error("[[route]]\nname = 5\n" + kAddresses),
            "2:8: key \"name\": wrong type integer, expected a string");
  EXPECT_EQ(load_error("[[route]]\nto = 5\n" + kNameAndListener),
            "2:6: key \"to\": wrong type integer, expected a string with an address, a table, or "
            "an array of them");
  EXPECT_EQ(load_error("[[route]]\nlisten = [\":1\", 5]\n" + kNameAndTarget),
            "2:17: key \"listen\": wrong type integer, expected a string with an address, or an "
            "array of them");
}

TEST_F(ConfigFile, TheTablesThemselvesHaveTheirForm) {
  EXPECT_EQ(load_error("[route]\nname = \"a\"\n"),
            "1:1: key \"route\": wrong type table, expected [[route]] tables");
  EXPECT_EQ(load_error("route = [5]\n"),
            "1:10: key \"route\": wrong type integer, expected [[route]] tables");
  EXPECT_EQ(load_error("defaults = 5\n"),
            "1:12: key \"defaults\": wrong type integer, expected a [defaults] table");
  EXPECT_TRUE(
      starts_with(load_error("[[defaults]]\n"), "1:1: key \"defaults\": wrong type array,"));
}

TEST_F(ConfigFile, ABadValueIsToldWithWhatIsAllowed) {
  EXPECT_EQ(load_error(with_defaults("workers = 257")),
            "2:11: key \"workers\": out of bounds in \"257\": expected 1 to 256");
  EXPECT_EQ(load_error(with_defaults("workers = -1")),
            "2:11: key \"workers\": no whole number in \"-1\": expected 1 to 256");
  EXPECT_EQ(load_error(with_route("zero-copy = \"alway\"\n")),
            "5:13: key \"zero-copy\": unknown value \"alway\": expected auto, always or never; did "
            "you mean \"always\"?");
  EXPECT_TRUE(starts_with(load_error("[[route]]\nto = \"a\"\n" + kNameAndListener),
                          "2:6: key \"to\": missing port in \"a\""));
  EXPECT_EQ(load_error("[[route]]\nlisten = [\n  \":1\",\n  \":99999\",\n]\n" + kNameAndTarget),
            "4:3: key \"listen\": port \"99999\" in \":99999\": expected a number of 0 to 65535");
  EXPECT_EQ(load_error("[[route]]\nlisten = []\n" + kNameAndTarget),
            "2:10: key \"listen\": empty array, expected at least one address");
  EXPECT_TRUE(starts_with(load_error(with_defaults("log-file = \"a\\u0000b\"")),
                          "2:12: key \"log-file\": no path in \"a\\"));
}

TEST_F(ConfigFile, TwoRoutesOfOneNameAreRefused) {
  EXPECT_EQ(load_error(std::string(kRoute) +
                       "[[route]]\nname = \"a\"\nlisten = \":9\"\nto = \"echo:\"\n"),
            "6:8: key \"name\": \"a\" names two routes, expected another name for each");
}

TEST_F(ConfigFile, ANameIsFitForALogLine) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a=b"), std::string(65, 'x'),
        std::string("Grüße"), std::string("'><script>")}) {
    EXPECT_EQ(load_error("[[route]]\nname = \"" + name + "\"\n" + kAddresses),
              "2:8: key \"name\": bad name \"" + name +
                  "\", expected 1 to 64 letters, digits, '.', '_' and '-'");
  }
}

TEST_F(ConfigFile, AListenAddressInTwoRoutesIsRefused) {
  EXPECT_EQ(load_error(std::string(kRoute) +
                       "[[route]]\nname = \"b\"\nlisten = \"0.0.0.0:1\"\nto = \"echo:\"\n"),
            "7:10: key \"listen\": \"0.0.0.0:1\" is listened on already, expected each address "
            "once");
  EXPECT_TRUE(starts_with(load_error("[[route]]\nlisten = [\"a:1\", \"a:1\"]\n" + kNameAndTarget),
                          "2:18: key \"listen\": \"a:1\" i"));
}

TEST_F(ConfigFile, WhatARouteLacksIsToldWithTheRoutesPlace) {
  EXPECT_EQ(load_error(std::string(kRoute) + "\n[[route]]\nname = \"b\"\nlisten = \":2\"\n"),
            "6:1: key \"to\": missing in this route, expected a string with an address");
  EXPECT_EQ(load_error("[[route]]\nto = \"echo:\"\nlisten = \":2\"\n"),
            "1:1: key \"name\": missing in this route, expected a name for the log");
  EXPECT_TRUE(starts_with(load_error("[[route]]\nto = \"echo:\"\nname = \"b\"\n"),
                          "1:1: key \"listen\": mi"));
}

TEST_F(ConfigFile, NoRoutesIsAnError) {
  for (const char* text : {"", "[defaults]\nworkers = 2\n", "route = []\n", "# nothing\n"}) {
    EXPECT_EQ(load_error(text),
              "1:1: key \"route\": missing, expected at least one [[route]] table");
  }
}

TEST_F(ConfigFile, ABudgetThatHoldsNoPipeIsToldWithItsPlace) {
  EXPECT_TRUE(starts_with(load_error(with_defaults("pipe-budget = 255")),
                          "2:15: key \"pipe-budget\": a budget of 255 slots is too small"));
  write(with_defaults("workers = 1"));
  EXPECT_TRUE(starts_with(usage_error(run({"--config", path_, "--pipe-budget", "255"})),
                          "--pipe-budget: a budget "));
  EXPECT_EQ(load(with_defaults("pipe-budget = 255"), {"--pipe-size", "64KiB"}).pipe_size_bytes,
            65'536u);
}

TEST_F(ConfigFile, ASyntaxErrorHasItsPlaceOnOneLine) {
  EXPECT_TRUE(starts_with(load_error("[[route]]\nname = \n"), "2:8: syntax error: "));
  EXPECT_TRUE(starts_with(load_error("[[route]\n"), "1:9:"));
  EXPECT_TRUE(starts_with(load_error("[defaults]\nworkers = 1\nworkers = 2\n"), "3:"));
  EXPECT_NE(load_error("a = \"\xff\"\n").find("syntax error"), std::string::npos);
  EXPECT_NE(load_error(std::string_view("a = \"\0\"\n", 8)).find("syntax error"),
            std::string::npos);
  EXPECT_NE(load_error("a = " + std::string(100'000, '[')).find("syntax error"), std::string::npos);
}

TEST_F(ConfigFile, WhatIsNoReadableFileIsRefused) {
  const std::string expected = ", expected a readable regular file of at most 1MiB";
  EXPECT_EQ(failure(run({"--config", path_}), 1, path_ + ":"),
            "1:1: cannot open: No such file or directory" + expected);
  EXPECT_EQ(failure(run({"--config", directory_}), 1, directory_ + ":"),
            "1:1: is a directory" + expected);
  // Reading a FIFO waits for a writer, unless the open is non-blocking.
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(failure(run({"--config", path_}), 1, path_ + ":"),
            "1:1: is not a regular file" + expected);
  EXPECT_EQ(failure(run({"--config", "/dev/zero"}), 1, "/dev/zero:"),
            "1:1: is not a regular file" + expected);
}

TEST_F(ConfigFile, AFileWithoutPermissionIsRefused) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read every file";
  write(kRoute);
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  EXPECT_TRUE(starts_with(failure(run({"--config", path_}), 1, path_ + ":"),
                          "1:1: cannot open: Permission denied"));
}

TEST_F(ConfigFile, AFileOfOneMebibyteIsTheLargest) {
  std::string text(kRoute);
  text += "#" + std::string((1 << 20) - text.size() - 1, 'x');
  EXPECT_EQ(load(text).routes.size(), 1u);
  EXPECT_EQ(load_error(text + "x"),
            "1:1: is too large, expected a readable regular file of at most 1MiB");
}

TEST_F(ConfigFile, APathWithANewlineStillMakesOneLine) {
  const Invocation invocation = run({"--config", directory_ + "/a\nb"});
  EXPECT_TRUE(starts_with(failure(invocation, 1, directory_ + "/a\\x0ab:1:1: "), "cannot open"));
}

TEST_F(ConfigFile, AllMistakesAreToldInTheOrderOfTheFile) {
  write(
      "nonsense = 1\n"
      "[[route]]\n"
      "name = \"a b\"\n"
      "listen = [\":1\", \":99999\", \":1\"]\n"
      "idle-timeout = 5\n"
      "[[route]]\n"
      "name = \"b\"\n"
      "listen = \":2\"\n"
      "[defaults]\n"
      "workers = \"many\"\n");
  const Invocation invocation = run({"--config", path_});
  EXPECT_EQ(invocation.exit_status, 1);
  std::vector<std::string> places;
  std::istringstream lines(invocation.message);
  for (std::string line; std::getline(lines, line);) {
    ASSERT_TRUE(line.starts_with(path_ + ":")) << line;
    line.erase(0, path_.size() + 1);
    places.push_back(line.substr(0, line.find(": key ")) + line.substr(line.find(" \"")));
    places.back().erase(places.back().find('"', places.back().find('"') + 1) + 1);
  }
  EXPECT_EQ(places,
            (std::vector<std::string>{"1:1 \"nonsense\"", "2:1 \"to\"", "3:8 \"name\"",
                                      "4:17 \"listen\"", "4:27 \"listen\"", "5:16 \"idle-timeout\"",
                                      "6:1 \"to\"", "10:11 \"workers\""}));
}

TEST_F(ConfigFile, RoutesThatDoNotGoTogetherAreAllTold) {
  std::string text;
  for (int i = 1; i <= 3; ++i) {
    const std::string port = "\":" + std::to_string(i) + "\"";
    text += "[[route]]\nname = \"r" + std::to_string(i) + "\"\nlisten = " + port +
            "\nto = " + port + "\nmirror = \":" + std::to_string(4 - i) + "\"\n";
  }
  write(text);
  const Invocation invocation = run({"--config", path_});
  EXPECT_EQ(std::ranges::count(invocation.message, '\n'), 6) << invocation.message;
}

TEST_F(ConfigFile, TooManyMistakesAreCounted) {
  std::string text;
  for (int i = 0; i < 23; ++i) text += "wrong" + std::to_string(i) + " = 1\n";
  write(text + std::string(kRoute));
  const Invocation invocation = run({"--config", path_});
  EXPECT_EQ(std::ranges::count(invocation.message, '\n'), 21) << invocation.message;
  EXPECT_TRUE(invocation.message.ends_with(path_ + ": and 3 more\n")) << invocation.message;
}

TEST_F(CommandLine, AFlagThatIsGivenIsSet) {
  const Invocation invocation =
      run({"--listen", ":1", "--to", ":2", "--capture", "c", "--capture-exact"});
  ASSERT_EQ(invocation.message, "");
  EXPECT_TRUE(invocation.config.routes.at(0).capture_exact);
}

TEST_F(CommandLine, AllMistakesAreTold) {
  EXPECT_EQ(std::ranges::count(run({"--lisen", ":1", "--too", ":2"}).message, '\n'), 2);
  const Invocation values = run({"--listen", ":1", "--listen", ":1", "--to", "nowhere", "--workers",
                                 "none", "--log-level", "loud"});
  EXPECT_EQ(values.exit_status, 2);
  for (const char* option : {"--listen: ", "--to: ", "--workers: ", "--log-level: "}) {
    EXPECT_NE(values.message.find("sluice: " + std::string(option)), std::string::npos)
        << values.message;
  }
}

}  // namespace
}  // namespace sluice
