#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <span>
#include <sstream>
#include <string_view>

#include "iolib/base/text.h"
#include "tools/bench/contender.h"
#include "tools/bench/opening.h"
#include "tools/bench/workload.h"

namespace sluice::bench {
namespace {

// The name of a contender says which PROXY header it adds.
std::uint8_t proxy_header_of(const std::string& name) {
  return name.ends_with("-proxy-v1") ? 1 : name.ends_with("-proxy-v2") ? 2 : 0;
}

Most most_of_each(const ContenderOptions& options) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  // Each server may have a health check in flight.
  const rlim_t checks = options.servers > 1 ? options.servers : 0;
  return most_within(files.rlim_max - std::min(checks, files.rlim_max / 2));
}

/// What a forwarder does besides.
enum class Extra : std::uint8_t { none, proxy_header, routes };

// The placeholder for the port of the server that the name belongs to.
std::string port_of(const ContenderOptions& options, std::size_t name) {
  return "{to:" + std::to_string(name % options.servers) + '}';
}

// A hello that has come in part is waited for. A backend has the name that leads to it.
std::string haproxy_routes(const ContenderOptions& options) {
  std::string config =
      "frontend forward\n  bind 127.0.0.1:{listen}\n  tcp-request inspect-delay 5s\n"
      "  tcp-request content accept if { req.ssl_hello_type 1 }\n"
      "  use_backend %[req.ssl_sni,lower]\n";
  for (std::size_t i = 0; i < options.names; ++i) {
    config +=
        "backend " + server_name(i) + "\n  server upstream 127.0.0.1:" + port_of(options, i) + '\n';
  }
  return config;
}

// Tuned: splices in both directions, with 1 MiB pipes, and as many pipes as the largest bulk run
// needs.
std::string haproxy_config(const ContenderOptions& options, bool tuned, Extra extra = Extra::none) {
  std::string config = "global\n  nbthread " + std::to_string(options.workers) + "\n  maxconn " +
                       std::to_string(most_of_each(options).connections) + '\n';
  if (tuned) {
    config +=
        "  maxpipes " + std::to_string(most_of_each(options).pipes) + "\n  tune.pipesize 1048576\n";
  }
  config +=
      "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n";
  if (tuned) config += "  option splice-request\n  option splice-response\n";
  if (extra == Extra::routes) return config + haproxy_routes(options);
  const std::string more = extra == Extra::proxy_header ? " send-proxy-v2\n" : "\n";
  config += "listen forward\n  bind 127.0.0.1:{listen}\n";
  if (options.servers == 1) return config + "  server upstream 127.0.0.1:{to}" + more;
  return config + "  balance leastconn\n  server upstream-{to} 127.0.0.1:{to} check inter 2s" +
         more;
}

// Debian ships stream support as a dynamic module; other builds have it built in.
constexpr const char* kStreamModule = "/usr/lib/nginx/modules/ngx_stream_module.so";

bool has_streams(const std::string& nginx) {
  return std::filesystem::exists(kStreamModule) ||
         builds_in_streams(line_with({nginx, "-V"}, "--with-stream"));
}

// nginx cannot check the servers of a stream actively: max_fails and fail_timeout, at their
// defaults, leave out a server after a failed connect. Each process balances on its own.
std::string nginx_config(const ContenderOptions& options, bool tuned, Extra extra = Extra::none) {
  std::string config = "worker_processes " + std::to_string(options.workers) +
                       ";\npid {dir}/pid;\nerror_log stderr;\n";
  if (::geteuid() == 0) config += "user root;\n";
  if (std::filesystem::exists(kStreamModule)) {
    config += std::string("load_module ") + kStreamModule + ";\n";
  }
  config += "events { worker_connections " + std::to_string(2 * most_of_each(options).connections) +
            "; }\nstream {\n";
  const bool routes = extra == Extra::routes;
  const bool several = options.servers > 1 && !routes;
  if (routes) {
    config += "  map $ssl_preread_server_name $server {\n";
    for (std::size_t i = 0; i < options.names; ++i) {
      config += "    " + server_name(i) + " 127.0.0.1:" + port_of(options, i) + ";\n";
    }
    config += "  }\n";
  }
  if (several) config += "  upstream servers {\n    least_conn;\n    server 127.0.0.1:{to};\n  }\n";
  config += "  server {\n    listen 127.0.0.1:{listen};\n    proxy_pass " +
            std::string(routes    ? "$server"
                        : several ? "servers"
                                  : "127.0.0.1:{to}") +
            ";\n    proxy_timeout 1h;\n    proxy_half_close on;\n    tcp_nodelay on;\n";
  if (tuned) config += "    proxy_buffer_size 256k;\n";
  if (routes) config += "    ssl_preread on;\n";
  if (extra == Extra::proxy_header) config += "    proxy_protocol on;\n";
  return config + "  }\n}\n";
}

Contender sluice(const ContenderOptions& options, const std::string& name, const char* engine,
                 const char* zero_copy) {
  Contender contender{.name = name};
  contender.command = {options.sluice,       "--listen",
                       "127.0.0.1:{listen}", "--to=127.0.0.1:{to}",
                       "--workers",          std::to_string(options.workers),
                       "--engine",           engine,
                       "--zero-copy",        zero_copy,
                       "--log-level",        "warn"};
  if (options.servers > 1) {
    contender.command.insert(contender.command.end(),
                             {"--balance", "two-choices", "--health", "tcp"});
  }
  contender.version = first_line({options.sluice, "--version"});
  return contender;
}

Contender sluice_with_proxy_header(const ContenderOptions& options) {
  Contender contender = sluice(options, "sluice-proxy-v2", "auto", "auto");
  contender.command.insert(contender.command.end(), {"--proxy-out", "v2"});
  return contender;
}

// Each name has its own route. A client that asks for none of them is refused.
Contender sluice_that_routes(const ContenderOptions& options) {
  Contender contender{.name = "sluice-sni"};
  contender.command = {
      options.sluice, "--config", "{config}", "--workers", std::to_string(options.workers),
      "--log-level",  "warn"};
  contender.config = "[[route]]\nname = \"forward\"\nlisten = \"127.0.0.1:{listen}\"\n";
  for (std::size_t i = 0; i < options.names; ++i) {
    contender.config +=
        "[[route.match]]\nsni = \"" + server_name(i) + "\"\nroute = \"" + server_name(i) + "\"\n";
  }
  for (std::size_t i = 0; i < options.names; ++i) {
    contender.config += "[[route]]\nname = \"" + server_name(i) +
                        "\"\nto = \"127.0.0.1:" + port_of(options, i) + "\"\n";
  }
  contender.version = first_line({options.sluice, "--version"});
  return contender;
}

// `--capture-full block`, so that every contender records all traffic.
Contender recording(const ContenderOptions& options, const std::string& level, bool buffered) {
  Contender contender =
      sluice(options, "sluice-capture-" + (buffered ? "buffered" : level), "auto", "auto");
  contender.records = true;
  for (const char* word : {"--capture", "{dir}/capture", "--durability"}) {
    contender.command.emplace_back(word);
  }
  contender.command.push_back(level);
  contender.command.insert(contender.command.end(), {"--capture-full", "block"});
  if (buffered) contender.command.insert(contender.command.end(), {"--capture-io", "buffered"});
  return contender;
}

// A mirror that reads is part of the contender, so its cost counts.
Contender mirroring(const ContenderOptions& options, bool stuck) {
  Contender contender =
      sluice(options, stuck ? "sluice-mirror-stuck" : "sluice-mirror", "auto", "auto");
  contender.stuck_mirror = stuck;
  contender.whole_mirror = !stuck;
  contender.command.insert(contender.command.end(), {"--mirror", "127.0.0.1:{mirror}"});
  if (stuck) return contender;
  // The mirror shares the CPUs with everything else. A few ms without a CPU would take a stream
  // past the default lag.
  contender.command.insert(contender.command.end(),
                           {"--mirror-max-lag", "256MiB", "--mirror-buffers", "4GiB"});
  contender.command.insert(
      contender.command.begin(),
      {"/bin/sh", "-c",
       "\"$0\" --listen 127.0.0.1:{mirror} --to discard: --log-level warn & \"$@\" & wait",
       options.sluice});
  return contender;
}

// The common way to record: HAProxy with tcpdump beside it. SIGTERM, which is trapped, ends the
// shell's first `wait`. The second one keeps the shell alive until tcpdump has reported its losses,
// because the group ends with the shell.
Contender haproxy_with_tcpdump(const ContenderOptions& options, const std::string& haproxy,
                               const std::string& tcpdump) {
  return {.name = "haproxy-tcpdump",
          .command = {"/bin/sh", "-c",
                      "trap : TERM; " + tcpdump +
                          " -i lo -s 0 -B 65536 -w {dir}/dump port {listen} 2>{dir}/tcpdump & " +
                          haproxy + " -db -f {config} & wait; wait"},
          .config = haproxy_config(options, true),
          .version = first_line({tcpdump, "--version"}),
          .dump_log = "tcpdump",
          .records = true};
}

}  // namespace

Most most_within(std::uint64_t descriptors) {
  // The largest part's connections, plus those that an idle part opens first and the control
  // connection (load.cc).
  constexpr std::uint64_t kConnections = kMaxConnections + 100;
  // Both directions of 1000 streams.
  constexpr std::uint64_t kPipes = 2000;
  constexpr std::uint64_t kPipesAndOthers = 2 * kPipes + 1000;
  const std::uint64_t limit = std::min(descriptors, 2 * kConnections + kPipesAndOthers);
  const std::uint64_t others = std::min(limit / 2, kPipesAndOthers);
  return {(limit - others) / 2, std::min(kPipes, others * kPipes / kPipesAndOthers)};
}

bool builds_in_streams(const std::string& line) {
  std::istringstream words(line);
  return std::find(std::istream_iterator<std::string>(words), {}, "--with-stream") !=
         std::istream_iterator<std::string>();
}

namespace {

// Adds the forwarders that do one thing more.
void add_with(const ContenderOptions& options, Extra extra, std::vector<Contender>& found) {
  const bool routes = extra == Extra::routes;
  const std::size_t first = found.size();
  if (const std::string haproxy = find_program("haproxy"); !haproxy.empty()) {
    found.push_back({.name = routes ? "haproxy-sni" : "haproxy-proxy-v2",
                     .command = {haproxy, "-db", "-f", "{config}"},
                     .config = haproxy_config(options, true, extra),
                     .version = first_line({haproxy, "-v"})});
  }
  if (const std::string nginx = find_program("nginx"); !nginx.empty() && has_streams(nginx)) {
    found.push_back({.name = routes ? "nginx-sni" : "nginx-proxy-v1",
                     .command = {nginx, "-p", "{dir}", "-c", "{config}", "-g", "daemon off;"},
                     .config = nginx_config(options, true, extra),
                     .version = first_line({nginx, "-v"})});
  }
  if (!options.sluice.empty()) {
    found.push_back(routes ? sluice_that_routes(options) : sluice_with_proxy_header(options));
  }
  for (Contender& each : std::span(found).subspan(first)) {
    each.routes = routes;
    each.proxy_header = proxy_header_of(each.name);
  }
}

}  // namespace

std::vector<Contender> installed_contenders(const ContenderOptions& options) {
  std::vector<Contender> found{{.name = "direct"}};
  if (const std::string haproxy = find_program("haproxy"); !haproxy.empty()) {
    const std::string version = first_line({haproxy, "-v"});
    for (const bool tuned : {true, false}) {
      found.push_back({.name = tuned ? "haproxy-tuned" : "haproxy",
                       .command = {haproxy, "-db", "-f", "{config}"},
                       .config = haproxy_config(options, tuned),
                       .version = version});
    }
  }
  if (const std::string nginx = find_program("nginx"); !nginx.empty() && has_streams(nginx)) {
    const std::string version = first_line({nginx, "-v"});
    for (const bool tuned : {true, false}) {
      found.push_back({.name = tuned ? "nginx-tuned" : "nginx",
                       .command = {nginx, "-p", "{dir}", "-c", "{config}", "-g", "daemon off;"},
                       .config = nginx_config(options, tuned),
                       .version = version});
    }
  }
  if (const std::string socat = find_program("socat"); !socat.empty()) {
    found.push_back({.name = "socat",
                     .command = {socat,
                                 "TCP-LISTEN:{listen},bind=127.0.0.1,fork,reuseaddr,nodelay,"
                                 "backlog=4096",
                                 "TCP:127.0.0.1:{to},nodelay"},
                     .version = line_with({socat, "-V"}, "version"),
                     .balances = false});
  }
  if (!options.sluice.empty()) {
    for (const char* engine : {"auto", "epoll"}) {
      for (const char* zero_copy : {"auto", "always", "never"}) {
        std::string name = "sluice";
        if (std::string_view(engine) != "auto") name += std::string("-") + engine;
        if (std::string_view(zero_copy) != "auto") name += std::string("-") + zero_copy;
        found.push_back(sluice(options, name, engine, zero_copy));
      }
    }
  }
  const std::string haproxy = find_program("haproxy");
  const std::string tcpdump = find_program("tcpdump");
  if (!haproxy.empty() && !tcpdump.empty() && ::geteuid() == 0) {
    found.push_back(haproxy_with_tcpdump(options, haproxy, tcpdump));
  }
  add_with(options, Extra::proxy_header, found);
  if (options.names > 0) add_with(options, Extra::routes, found);
  if (!options.sluice.empty()) {
    for (const char* level : {"none", "interval", "batch", "before-forward"}) {
      found.push_back(recording(options, level, false));
    }
    found.push_back(recording(options, "none", true));
    for (const bool stuck : {false, true}) found.push_back(mirroring(options, stuck));
  }
  return found;
}

Result<Contender> parse_contender(const std::string& text) {
  const std::size_t equals = text.find('=');
  Contender contender{.name = text.substr(0, std::min(equals, text.size()))};
  if (equals != std::string::npos) {
    std::istringstream words(text.substr(equals + 1));
    for (std::string word; words >> word;) contender.command.push_back(word);
  }
  const auto has = [&](const char* placeholder) {
    return text.find(placeholder) != std::string::npos;
  };
  contender.records = has("{dir}");
  contender.routes = true;  // or not, which its runs show
  contender.proxy_header = proxy_header_of(contender.name);
  if (contender.name.empty() || contender.command.empty() || !has("{listen}") || !has("{to}")) {
    return Error{0, "contender " + in_quotes(text) +
                        ": expected NAME=COMMAND with {listen} and {to} for the ports"};
  }
  return contender;
}

}  // namespace sluice::bench
