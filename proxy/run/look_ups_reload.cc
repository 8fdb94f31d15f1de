// What a new configuration keeps of the names and servers of the one before, and how it looks up
// the rest.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "proxy/run/look_ups.h"

namespace sluice {

LookUps::LookUps(std::shared_ptr<const Config> config, const LookUps& old,
                 std::span<const std::optional<std::size_t>> continues)
    : LookUps(std::move(config), old.workers_, old.context_, old.update_route_) {
  next_number_ = old.next_number_;
  for (const std::optional<std::size_t> index : continues) {
    add_route(index ? old.routes_[*index].number : next_number_++);
  }
  for (std::size_t index = 0; index < routes_.size(); ++index) {
    if (continues[index]) continue_route(index, old, *continues[index]);
    for (RouteMatch& match : routes_[index].config.matches) {
      match.to_route = routes_[match.to_route].number;
    }
  }
  adopt_names(old, continues);
}

void LookUps::continue_route(std::size_t index, const LookUps& old, std::size_t old_index) {
  const Route& known = old.routes_[old_index];
  Route& route = routes_[index];
  route.stats = known.stats;
  if (route.sources != nullptr && known.sources != nullptr) route.sources = known.sources;
  if (route.places != nullptr && known.places != nullptr) route.places = known.places;
  if (known.queue != nullptr) route.queue = known.queue;  // clients may wait there
  if (route.bandwidth != nullptr && known.bandwidth != nullptr) route.bandwidth = known.bandwidth;
  route.relay.traffic = route.stats->traffic.data();
  if (route.config.target() == known.config.target()) route.files = known.files;
  route.servers = with_known_servers(route.config, known.servers, known.config);
}

// What is known about a name holds for the same name of a route that continues, and for the same
// mirror of any.
void LookUps::adopt_names(const LookUps& old,
                          std::span<const std::optional<std::size_t>> continues) {
  std::unordered_multimap<std::string, const LookUp*> names;
  for (const LookUp& each : old.names_) names.emplace(each.text(), &each);
  for (LookUp& each : names_) {
    const auto [begin, end] = names.equal_range(each.text());
    const auto found = std::find_if(begin, end, [&](const auto& entry) {
      const LookUp& other = *entry.second;
      if (each.mirror != other.mirror || each.name != other.name) return false;
      return each.is_mirrors() || continues[each.route] == other.route;
    });
    if (found == end) continue;
    const LookUp& known = *found->second;
    each.known = true;
    each.unusable = known.unusable;
    each.not_before = known.not_before;
    each.set = known.set;
    each.servers = known.servers;
  }
  std::unordered_map<std::string_view, const MirrorTarget*> mirrors;
  for (const Route& route : old.routes_) {
    for (const MirrorTarget& each : route.mirrors) mirrors.emplace(each.address, &each);
  }
  for (std::size_t index = 0; index < routes_.size(); ++index) {
    if (has_names_of_many(routes_[index])) rebuild(index);
    for (MirrorTarget& each : routes_[index].mirrors) {
      const auto known = mirrors.find(each.address);
      if (known != mirrors.end()) each.endpoints = known->second->endpoints;
    }
  }
}

void LookUps::resolve(std::function<void(Result<>)> done) {
  resolved_ = std::move(done);
  for (LookUp& each : names_) {
    if (!each.known) look_up(each);
  }
  patience_.emplace(*context_, kLookUpPatience);
  patience_->async_wait(if_alive([this](const boost::system::error_code& error) {
    if (error) return;
    is_patient_ = false;
    check_resolved();
  }));
  check_resolved();
}

void LookUps::adopt_resolved(const LookUps& other) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    LookUp& name = names_[i];
    const LookUp& found = other.names_[i];
    if (name.known || found.known) continue;
    name.unusable = found.unusable;
    name.not_before = found.not_before;
    name.set = found.set;
    name.servers = found.servers;
    Route& route = routes_[name.route];
    const Route& resolved = other.routes_[name.route];
    if (name.is_mirrors()) {
      const auto known =
          std::ranges::find(resolved.mirrors, name.mirror, &MirrorTarget::address)->endpoints;
      for (Route& each : routes_) {
        for (MirrorTarget& mirror : each.mirrors) {
          if (mirror.address == name.mirror) mirror.endpoints = known;
        }
      }
    } else if (name.is_of_many()) {
      rebuild(name.route);
    } else {
      const auto server = std::ranges::find(resolved.servers->servers, name.server,
                                            [](const ServerRef& each) { return each->index; });
      route.servers = with_endpoints(*route.servers, name.server, (*server)->endpoints);
    }
  }
}

// A name of a single server is needed; the others are waited for.
void LookUps::check_resolved() {
  if (!resolved_) return;
  const auto finish = [this](const Result<>& result) {
    patience_->cancel();
    boost::asio::post(*context_,
                      [done = std::exchange(resolved_, nullptr), result] { done(result); });
  };
  bool waits = false;
  for (const LookUp& each : names_) {
    if (each.known) continue;
    const bool is_needed = !each.is_mirrors() && !each.is_of_many();
    const bool is_awaited = each.state != LookUp::State::idle;
    if (is_needed && !is_awaited && !each.unusable.empty()) return finish(unresolved_error(each));
    waits = waits || (is_awaited && (is_needed || is_patient_));
  }
  if (waits) return;
  give_up_waiting();
  finish({});
}

}  // namespace sluice
