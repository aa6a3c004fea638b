// The part of libgomp that g++ calls for our loops, on std::thread: ThreadSanitizer does not see into
// libgomp, whose barriers it would not know, and would report every loop. Linked in its place in the tsan
// preset; static schedules need no more than this. oneDNN comes here as well, by the entries of older
// compilers: it must see one and the same team.
// A caller keeps its threads between regions, since the sanitizer takes a millisecond to make two. What
// orders them is what making and joining them would: a semaphore from the caller to each and one back, and
// nothing from one to another, which could hide a race between the two.
#include <semaphore.h>

#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

extern "C" int omp_get_max_threads();

namespace {

int from_environment() {
  const char* text = std::getenv("RTFQ_TSAN_THREADS");
  const int count = text ? std::atoi(text) : 0;
  return count > 0 ? count : 3;
}

struct Team {
  explicit Team(int threads) : size(threads), barrier(threads) {}
  int size;
  std::barrier<> barrier;
  Team* outer = nullptr;  ///< what the calling thread was in before
  int outer_number = 0;
};

/// A loop of GOMP_loop_static_start, as one thread sees it.
struct Loop {
  long first, step, rounds, chunk, done;
};

thread_local int wanted = 0;  ///< by omp_set_num_threads
thread_local int number = 0;
thread_local Team* team = nullptr;
thread_local Loop loop;

/// One thread of a caller: it runs what it is given, until it is given nothing.
class Worker {
 public:
  explicit Worker(int its_number) {
    sem_init(&start_, 0, 0);
    sem_init(&done_, 0, 0);
    thread_ = std::thread([this, its_number] {
      number = its_number;
      for (;;) {
        wait(start_);
        if (body_ == nullptr) return;
        team = team_;
        body_(data_);
        team = nullptr;
        sem_post(&done_);
      }
    });
  }
  ~Worker() {
    begin(nullptr, nullptr, nullptr);
    thread_.join();
    sem_destroy(&start_);
    sem_destroy(&done_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void begin(void (*body)(void*), void* data, Team* its_team) {
    body_ = body, data_ = data, team_ = its_team;
    sem_post(&start_);
  }
  void end() { wait(done_); }

 private:
  static void wait(sem_t& semaphore) {
    while (sem_wait(&semaphore) != 0) {
    }  // a signal came first
  }

  sem_t start_, done_;
  void (*body_)(void*) = nullptr;
  void* data_ = nullptr;
  Team* team_ = nullptr;
  std::thread thread_;
};

thread_local std::vector<std::unique_ptr<Worker>> workers;

void enter(void (*body)(void*), void* data, unsigned count) {
  const int size = team ? 1 : count > 0 ? static_cast<int>(count) : omp_get_max_threads();
  auto* const mine = new Team(size);
  mine->outer = team, mine->outer_number = number;
  if (size > 1) {
    while (static_cast<int>(workers.size()) < size - 1)
      workers.push_back(std::make_unique<Worker>(static_cast<int>(workers.size()) + 1));
    for (int i = 1; i < size; ++i) workers[i - 1]->begin(body, data, mine);
  }
  team = mine, number = 0;
}

void leave() {
  const std::unique_ptr<Team> mine(team);
  for (int i = 1; i < mine->size; ++i) workers[i - 1]->end();
  team = mine->outer, number = mine->outer_number;
}

}  // namespace

extern "C" {

int omp_get_thread_num() {
  return number;
}
int omp_get_num_threads() {
  return team ? team->size : 1;
}
int omp_get_max_threads() {
  static const int usual = from_environment();
  return wanted > 0 ? wanted : usual;
}
void omp_set_num_threads(int count) {
  wanted = count;
}
int omp_in_parallel() {
  return team != nullptr && team->size > 1;
}

/// `count` 0: as many as usual; nested regions have one.
void GOMP_parallel(void (*body)(void*), void* data, unsigned count, unsigned) {
  enter(body, data, count);
  body(data);
  leave();
}

/// In the form of older compilers the caller runs its part by itself in between.
void GOMP_parallel_start(void (*body)(void*), void* data, unsigned count) {
  enter(body, data, count);
}
void GOMP_parallel_end() {
  leave();
}

void GOMP_barrier() {
  if (team) team->barrier.arrive_and_wait();
}

bool GOMP_loop_static_next(long* begin, long* end) {
  const long size = omp_get_num_threads();
  long from = 0, to = 0;
  if (loop.chunk == 0) {  // one part a thread
    if (loop.done++) return false;
    from = loop.rounds * number / size, to = loop.rounds * (number + 1) / size;
  } else {
    from = (loop.done++ * size + number) * loop.chunk;
    to = std::min(loop.rounds, from + loop.chunk);
  }
  if (from >= to) return false;
  *begin = loop.first + from * loop.step, *end = loop.first + to * loop.step;
  return true;
}
bool GOMP_loop_static_start(long first, long last, long step, long chunk, long* begin, long* end) {
  const long rounds = step > 0 ? (last - first + step - 1) / step : (first - last - step - 1) / -step;
  loop = {first, step, std::max(rounds, 0L), chunk, 0};
  return GOMP_loop_static_next(begin, end);
}
void GOMP_loop_end_nowait() {}

}  // extern "C"
