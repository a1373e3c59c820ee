// Simulates simd_engine with an AXI4 memory of adjustable latency and bandwidth, and writes down what it did.
//
// Vtop JOB RESULT: JOB is a line of numbers (see main), then the program and the images as bytes. RESULT is a sequence of
// records, each a type byte: 'r' or 'f' and 16 bytes for a row of a raw result or a function; 'l', cycle (8), value (4) and
// TLAST (1) for a logit; 'b' and the cycle (8) for the first beat of an image; 'e' and status, address, cycles, three
// counters of waiting cycles and images (4 each) at the end.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <string>
#include <vector>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"

namespace {

class Random {  // xorshift64*
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull) {}
  bool chance(double p) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return p >= 1.0 || static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32) < p * 4294967296.0;
  }

 private:
  uint64_t state_;
};

struct Burst {
  uint64_t address, due;
  unsigned words;
};

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

struct Bench {
  Vtop top;
  std::string program, images, result;
  std::deque<Burst> bursts;
  uint64_t cycle = 0, sent = 0, image_bytes = 0, base = 0;
  unsigned latency = 0;
  double bandwidth = 16, credit = 0, beat_chance = 1, ready_chance = 1;
  Random random{1};
  unsigned finished = 0;

  void drive_memory() {
    top.m_axi_rvalid = 0;
    credit = std::min(credit + bandwidth, 2 * 16.0 + bandwidth);
    if (bursts.empty() || bursts.front().due > cycle || credit < 16) return;
    const uint64_t at = bursts.front().address - base;
    top.m_axi_rresp = at + 16 > program.size() ? 2 : 0;
    if (!top.m_axi_rresp) std::memcpy(&top.m_axi_rdata, program.data() + at, 16);
    top.m_axi_rlast = bursts.front().words == 1;
    top.m_axi_rvalid = 1;
  }

  void step() {
    top.clk = 0;
    drive_memory();
    if (!top.s_axis_tvalid && sent < images.size() && random.chance(beat_chance)) {
      top.s_axis_tvalid = 1;
      std::memcpy(&top.s_axis_tdata, images.data() + sent, 4);
      top.s_axis_tlast = (sent + 4) % image_bytes == 0;
    }
    top.m_axis_tready = random.chance(ready_chance);
    top.m_axi_arready = bursts.size() < 8;
    top.eval();
    const bool beat = top.s_axis_tvalid && top.s_axis_tready;
    if (beat) {
      if (sent % image_bytes == 0) result += 'b', put(result, cycle);
      sent += 4;
    }
    if (top.m_axi_arvalid && top.m_axi_arready) bursts.push_back({top.m_axi_araddr, cycle + latency, top.m_axi_arlen + 1u});
    if (top.m_axi_rvalid && top.m_axi_rready) {
      credit -= 16;
      bursts.front().address += 16;
      if (--bursts.front().words == 0) bursts.pop_front();
    }
    if (top.m_axis_tvalid && top.m_axis_tready) {
      result += 'l', put(result, cycle), put(result, top.m_axis_tdata), put(result, static_cast<uint8_t>(top.m_axis_tlast));
      finished += top.m_axis_tlast;
    }
    const auto* root = top.rootp;
    if (root->simd_engine__DOT__raw_write) {
      result += 'r', result.append(reinterpret_cast<const char*>(&root->simd_engine__DOT__raw_data), 16);
    }
    if (root->simd_engine__DOT__function_write) {
      result += 'f', result.append(reinterpret_cast<const char*>(&root->simd_engine__DOT__function_data), 16);
    }
    top.clk = 1;
    top.eval();
    if (beat) top.s_axis_tvalid = 0;
    ++cycle;
  }

  void write(uint8_t address, uint32_t value) {
    top.s_axil_awaddr = address;
    top.s_axil_wdata = value;
    top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
    step();
    top.s_axil_awvalid = top.s_axil_wvalid = 0;
    step();
  }

  uint32_t read(uint8_t address) {
    top.s_axil_araddr = address;
    top.s_axil_arvalid = top.s_axil_rready = 1;
    step();
    top.s_axil_arvalid = 0;
    const uint32_t value = top.s_axil_rdata;
    step();
    return value;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: Vtop JOB RESULT\n"), 2;
  std::ifstream job(argv[1], std::ios::binary);
  Bench bench;
  uint64_t program_bytes, loop, count, seed, limit, missing;
  job >> program_bytes >> loop >> count >> bench.image_bytes >> bench.latency >> bench.bandwidth >> seed >> bench.beat_chance >>
      bench.ready_chance >> limit >> missing;
  job.get();
  bench.program.resize(program_bytes);
  bench.images.resize(count * bench.image_bytes);
  job.read(bench.program.data(), static_cast<std::streamsize>(program_bytes));
  job.read(bench.images.data(), static_cast<std::streamsize>(bench.images.size()));
  if (!job) return std::fprintf(stderr, "%s: too short\n", argv[1]), 2;
  bench.program.resize(program_bytes - missing);
  bench.random = Random(seed);
  bench.base = 0x40000000;
  bench.top.rst_n = 0;
  for (int i = 0; i < 4; ++i) bench.step();
  bench.top.rst_n = 1;
  bench.write(0x10, static_cast<uint32_t>(bench.base));
  bench.write(0x14, static_cast<uint32_t>(program_bytes));
  bench.write(0x18, static_cast<uint32_t>(loop));
  bench.write(0x00, 1);
  while (bench.finished < count && bench.cycle < limit) {
    for (int i = 0; i < 1000 && bench.finished < count; ++i) bench.step();
    if (bench.read(0x04) & 2) break;
  }
  bench.result += 'e';
  for (uint8_t address : {0x04, 0x08, 0x20, 0x24, 0x28, 0x2C, 0x0C}) put(bench.result, bench.read(address));
  std::ofstream(argv[2], std::ios::binary) << bench.result;
  return 0;
}
