// Encodings and effects: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, the entries
// LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBSSD and its siblings; VEX in section 2.3.
#include "tests/support/amx_emulator.h"

#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace rtfq::test {
namespace {

struct Tile {
  int rows = 0, bytes = 0;  ///< none before a configuration
  uint8_t data[16][64] = {};
};

struct State {
  bool configured = false;
  Tile tiles[8];
};

// Without a constructor to run at a thread's first use: the handler may be that use.
thread_local State state;

/// An instruction with its operands.
struct Instruction {
  uint8_t opcode = 0, prefix = 0;  ///< prefix: 0 none, 1 66, 2 F3, 3 F2
  int mod = 0, reg = 0, rm = 0, v = 0;
  uint64_t address = 0, index = 0;  ///< of memory; a tile's rows are `index` bytes apart
  int length = 0;
};

uint64_t value_of(const ucontext_t& context, int number) {
  constexpr int places[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return static_cast<uint64_t>(context.uc_mcontext.gregs[places[number]]);
}

/// VEX in three bytes, map 0F38, no W, 128 bits: what all of AMX is.
bool decode(const ucontext_t& context, Instruction* to) {
  const auto start = static_cast<uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  const auto* code = reinterpret_cast<const uint8_t*>(start);
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;
  const int extend_index = code[1] & 0x40 ? 0 : 8, extend_base = code[1] & 0x20 ? 0 : 8;
  to->prefix = code[2] & 3;
  to->v = ~(code[2] >> 3) & 15;
  to->opcode = code[3];
  to->mod = code[4] >> 6, to->reg = code[4] >> 3 & 7, to->rm = code[4] & 7;
  const uint8_t* next = code + 5;
  if (to->mod != 3) {
    bool relative = false;
    if (to->rm == 4) {
      const uint8_t sib = *next++;
      const int index = (sib >> 3 & 7) | extend_index, base = sib & 7;
      if (index != 4) to->index = value_of(context, index) << (sib >> 6);
      if (base == 5 && to->mod == 0)
        to->mod = 4;  // no base, four bytes
      else
        to->address = value_of(context, base | extend_base);
    } else if (to->rm == 5 && to->mod == 0) {
      relative = true, to->mod = 4;
    } else {
      to->address = value_of(context, to->rm | extend_base);
    }
    if (to->mod == 1) {
      to->address += static_cast<uint64_t>(int64_t{static_cast<int8_t>(*next++)});
    } else if (to->mod != 0) {
      int32_t far;
      std::memcpy(&far, next, 4);
      to->address += static_cast<uint64_t>(int64_t{far}), next += 4;
    }
    if (relative) to->address += reinterpret_cast<uint64_t>(next);
  }
  to->length = static_cast<int>(next - code);
  return true;
}

bool configure(const uint8_t* from) {
  if (from[0] != 1 || from[1] != 0) return false;
  state = {};
  for (int i = 0; i < 8; ++i) {
    uint16_t bytes;
    std::memcpy(&bytes, from + 16 + 2 * i, 2);
    state.tiles[i].bytes = bytes, state.tiles[i].rows = from[48 + i];
    if (bytes > 64 || from[48 + i] > 16) return false;
  }
  state.configured = true;
  return true;
}

/// sums += x * weights, bytes in fours.
bool multiply(Tile& sums, const Tile& x, const Tile& weights, bool x_signed, bool weights_signed) {
  if (!sums.rows || sums.rows != x.rows || sums.bytes != weights.bytes || x.bytes % 4 ||
      weights.rows != x.bytes / 4)
    return false;
  const auto number = [](uint8_t byte, bool is_signed) {
    return is_signed ? int32_t{static_cast<int8_t>(byte)} : int32_t{byte};
  };
  for (int m = 0; m < sums.rows; ++m)
    for (int n = 0; n < sums.bytes / 4; ++n) {
      int32_t sum;
      std::memcpy(&sum, sums.data[m] + 4 * n, 4);
      for (int k = 0; k < x.bytes; ++k)
        sum += number(x.data[m][k], x_signed) * number(weights.data[k / 4][4 * n + k % 4], weights_signed);
      std::memcpy(sums.data[m] + 4 * n, &sum, 4);
    }
  return true;
}

/// A tile and rows in memory, as far as they go.
void load(Tile& tile, const Instruction& one) {
  std::memset(tile.data, 0, sizeof tile.data);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(tile.data[row],
                reinterpret_cast<const void*>(one.address + static_cast<uint64_t>(row) * one.index),
                static_cast<std::size_t>(tile.bytes));
}
void store(const Tile& tile, const Instruction& one) {
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(reinterpret_cast<void*>(one.address + static_cast<uint64_t>(row) * one.index), tile.data[row],
                static_cast<std::size_t>(tile.bytes));
}

/// False: not one of AMX's, or one that faults.
bool execute(const Instruction& one) {
  const bool in_memory = one.mod != 3;
  if (one.opcode == 0x49 && one.prefix == 0) {
    if (in_memory) return configure(reinterpret_cast<const uint8_t*>(one.address + one.index));
    state = {};
    return true;
  }
  if (!state.configured) return false;
  if (one.opcode == 0x49 && one.prefix == 3 && !in_memory) {
    std::memset(state.tiles[one.reg].data, 0, sizeof state.tiles[one.reg].data);
    return state.tiles[one.reg].rows > 0;
  }
  if (one.opcode == 0x4B && in_memory && one.rm == 4) {
    Tile& tile = state.tiles[one.reg];
    if (one.prefix == 3 || one.prefix == 1)
      load(tile, one);
    else if (one.prefix == 2)
      store(tile, one);
    else
      return false;
    return tile.rows > 0;
  }
  if (one.opcode == 0x5E && !in_memory && one.v < 8) {
    const bool distinct = one.reg != one.rm && one.reg != one.v && one.rm != one.v;
    return distinct && multiply(state.tiles[one.reg], state.tiles[one.rm], state.tiles[one.v],
                                one.prefix >= 2, one.prefix % 2 == 1);
  }
  return false;
}

void on_illegal_instruction(int, siginfo_t*, void* raw) {
  auto* context = static_cast<ucontext_t*>(raw);
  Instruction one;
  if (decode(*context, &one) && execute(one)) {
    context->uc_mcontext.gregs[REG_RIP] += one.length;
    return;
  }
  signal(SIGILL, SIG_DFL);  // and the instruction again
}

}  // namespace

AmxEmulator::AmxEmulator() {
  // Where the processor has them it must run all of them: a configuration never traps there.
  constexpr int ask = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  syscall(SYS_arch_prctl, ask, tile_data);
  struct sigaction taken {};
  taken.sa_sigaction = on_illegal_instruction;
  taken.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &taken, &before_);
}
AmxEmulator::~AmxEmulator() {
  sigaction(SIGILL, &before_, nullptr);
}

}  // namespace rtfq::test
