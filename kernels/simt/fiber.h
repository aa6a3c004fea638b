#pragma once
// A call stack that can be left and returned to (Boost.Context), known to the sanitizers. These are hooks the
// sanitizers' runtimes define; without one they are null.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

#define RTFQ_WEAK __attribute__((weak))
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, std::size_t size) RTFQ_WEAK;
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, std::size_t* size) RTFQ_WEAK;
void __asan_poison_memory_region(const volatile void*, std::size_t) RTFQ_WEAK;
void __asan_unpoison_memory_region(const volatile void*, std::size_t) RTFQ_WEAK;
void* __tsan_get_current_fiber() RTFQ_WEAK;
void* __tsan_create_fiber(unsigned flags) RTFQ_WEAK;
void __tsan_destroy_fiber(void*) RTFQ_WEAK;
void __tsan_switch_to_fiber(void*, unsigned flags) RTFQ_WEAK;
void __tsan_acquire(void*) RTFQ_WEAK;
void __tsan_release(void*) RTFQ_WEAK;
}

namespace rtfq::simt {

/// Orders memory for ThreadSanitizer: what was released at an object happens before what acquires it.
inline void order_release(void* object) {
  if (__tsan_release) __tsan_release(object);
}
inline void order_acquire(void* object) {
  if (__tsan_acquire) __tsan_acquire(object);
}

class Fiber {
 public:
  /// The operating-system thread's own stack.
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Gets a stack with a guard page below it. `number` shifts its top, so that fibers do not share cache
  /// sets.
  void allocate(unsigned number);
  /// Forgets what is on the stack: the next switch here calls `entry(this)`, which never returns.
  void reset(void (*entry)(Fiber*));
  /// Leaves `from`, which is running, and returns when somebody switches back to it.
  static void switch_to(Fiber& from, Fiber& to);
  /// Tells the sanitizer which of its fibers the operating-system thread runs on.
  void adopt_current();

 private:
  static void start(boost::context::detail::transfer_t);
  void arrived(Fiber& from);

  boost::context::detail::fcontext_t context_ = nullptr;
  void (*entry_)(Fiber*) = nullptr;
  char* mapping_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
  void* fake_stack_ = nullptr;
  void* tsan_ = nullptr;
  bool owns_tsan_ = false;
};

}  // namespace rtfq::simt
