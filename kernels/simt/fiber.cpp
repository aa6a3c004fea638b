#include "kernels/simt/fiber.h"

#include <sys/mman.h>

#include <new>

namespace rtfq::simt {
namespace {

constexpr std::size_t stack_bytes = 128 << 10, page = 4096;

struct Passage {
  Fiber* from;
  Fiber* to;
};

}  // namespace

Fiber::~Fiber() {
  if (owns_tsan_ && __tsan_destroy_fiber) __tsan_destroy_fiber(tsan_);
  if (mapping_) munmap(mapping_, stack_bytes + page);
}

void Fiber::allocate(unsigned number) {
  void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<char*>(memory);
  mprotect(mapping_, page, PROT_NONE);
  bottom_ = mapping_ + page;
  size_ = stack_bytes - number * 5 % 64 * 64;
}

void Fiber::reset(void (*entry)(Fiber*)) {
  char* bottom = mapping_ + page;
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(bottom, size_);
  entry_ = entry;
  fake_stack_ = nullptr;
  context_ = boost::context::detail::make_fcontext(bottom + size_, size_, start);
  if (!__tsan_create_fiber) return;
  if (tsan_) __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
  owns_tsan_ = true;
}

void Fiber::adopt_current() {
  if (__tsan_get_current_fiber) tsan_ = __tsan_get_current_fiber();
}

void Fiber::arrived(Fiber& from) {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(fake_stack_, &from.bottom_, &from.size_);
}

void Fiber::start(boost::context::detail::transfer_t transfer) {
  const auto passage = *static_cast<Passage*>(transfer.data);
  passage.from->context_ = transfer.fctx;
  passage.to->arrived(*passage.from);
  passage.to->entry_(passage.to);
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(to.tsan_, 1);  // 1: switching orders no memory
  Passage passage{&from, &to};
  const auto transfer = boost::context::detail::jump_fcontext(to.context_, &passage);
  const auto back = *static_cast<Passage*>(transfer.data);
  back.from->context_ = transfer.fctx;
  from.arrived(*back.from);
}

}  // namespace rtfq::simt
