#pragma once
// All ranks of a job as threads of one process, which meet by TCP.

#include <functional>
#include <thread>
#include <vector>

#include "engine/ranks/meeting.h"
#include "engine/ranks/monitor.h"
#include "engine/ranks/reducer.h"
#include "engine/ranks/tcp.h"

namespace rtfq::test {

inline void as_ranks(int ranks, const std::function<void(ranks::RankReducer&)>& work) {
  using namespace rtfq::ranks;
  Socket listener = listen_on(0, 64);
  const int port = port_of(listener);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      const Launch launch{Launcher::variables, rank, ranks, "127.0.0.1", port};
      Meeting meeting = meet(launch, rank == 0 ? std::move(listener) : Socket());
      const auto channels = TcpTransport::connect(launch, meeting, 2);
      std::atomic<uint64_t> entered{0};
      const Monitor monitor(launch, meeting.members, std::move(meeting.control), entered);
      RankReducer reducer(*channels[0], channels[1].get(), rank, ranks, entered);
      work(reducer);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace rtfq::test
