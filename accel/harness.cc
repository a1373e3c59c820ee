// The simulation loop around a verilated module: drives and checks AXI-Stream ports, records taps.
//
// Compiled together with "bind.inc", which accel/verilate.py writes: it includes the model's headers and
// defines `Model`, `Streams` and bind(). Python calls the extern "C" functions at the end of this file.
//
// One cycle: clk low, drive the inputs, settle, look at every handshake, clk high. A source keeps tvalid and
// tdata until tready (garbage while tvalid is low); every sink draws tready anew each cycle. A top with an
// AXI4-Lite slave is read and written between the streams' steps, or while they run.

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "axi_lite.h"
#include "verilated.h"

namespace {

struct Pins {  // of one stream; tlast is null where the port or signal does not exist
  const char* name;
  uint32_t bytes;
  uint8_t* data;
  uint8_t* valid;
  uint8_t* ready;
  uint8_t* last;
};

struct Streams {
  std::vector<Pins> inputs, outputs, taps;
  LitePins lite;
  uint8_t* clk = nullptr;
  uint8_t* rst_n = nullptr;
};

#include "bind.inc"

class Random {  // xorshift64*
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull) {
    if (state_ == 0) state_ = 1;
    for (int i = 0; i < 8; ++i) next();
  }
  uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
  }
  bool chance(double p) { return p >= 1.0 || next() < p * 4294967296.0; }

 private:
  uint64_t state_;
};

struct Pause {  // cycles in which a port does not move
  uint64_t from = 0, until = 0;
  bool holds(uint64_t cycle) const { return from <= cycle && cycle < until; }
};

struct Source {
  Pins pins;
  const uint8_t* data = nullptr;
  const uint8_t* last = nullptr;  // tlast of each beat; null: by packet
  uint64_t beats = 0, sent = 0, packet = 0;  // packet: beats between two tlast, 0: only the last beat has it
  double probability = 1;
  Pause pause;
  std::vector<uint64_t> cycles;  // in which a beat was taken

  void drive(Random& random, uint64_t cycle) {
    if (*pins.valid) return;
    if (sent < beats && !pause.holds(cycle) && random.chance(probability)) {
      *pins.valid = 1;
      std::memcpy(pins.data, data + sent * pins.bytes, pins.bytes);
      const bool ends = last ? last[sent] : packet ? (sent + 1) % packet == 0 : sent + 1 == beats;
      if (pins.last) *pins.last = ends;
    } else {
      const uint32_t garbage = random.next();
      for (uint32_t i = 0; i < pins.bytes; ++i) pins.data[i] = garbage >> (8 * (i & 3));
      if (pins.last) *pins.last = garbage & 1;
    }
  }
  bool fires() const { return *pins.valid && *pins.ready; }
};

// What comes out of a port or passes a tap, with the check that an offered beat stays until it is taken.
struct Recorder {
  Pins pins;
  bool is_port = true;
  uint64_t expected = 0;  // beats; ports only
  double probability = 1;
  Pause pause;
  std::vector<uint8_t> data, last, waiting;
  std::vector<uint64_t> cycles;
  uint64_t blocked = 0, starved = 0;  // cycles: valid and not ready, ready and not valid
  bool offered = false, waiting_last = false;

  void check(uint64_t cycle) const {
    if (!offered) return;
    const char* what = nullptr;
    if (!*pins.valid) {
      what = "tvalid fell before tready";
    } else if (std::memcmp(waiting.data(), pins.data, pins.bytes) != 0) {
      what = "tdata changed while tvalid waited for tready";
    } else if (pins.last && (*pins.last != 0) != waiting_last) {
      what = "tlast changed while tvalid waited for tready";
    }
    if (what) {
      throw std::runtime_error(std::string(pins.name) + ": AXI-Stream violated at cycle " +
                               std::to_string(cycle) + ", beat " + std::to_string(cycles.size()) + ": " + what);
    }
  }
  bool sample(uint64_t cycle) {  // true: a beat was taken
    check(cycle);
    blocked += *pins.valid && !*pins.ready;
    starved += *pins.ready && !*pins.valid;
    if (!*pins.valid) {
      offered = false;
      return false;
    }
    if (*pins.ready) {
      offered = false;
      data.insert(data.end(), pins.data, pins.data + pins.bytes);
      cycles.push_back(cycle);
      if (pins.last) last.push_back(*pins.last);
      return true;
    }
    if (!offered) waiting.assign(pins.data, pins.data + pins.bytes);
    waiting_last = pins.last && *pins.last;
    offered = true;
    return false;
  }
};

class WorkingFolder {  // $readmemh opens bare names: they lie in the design's folder
 public:
  explicit WorkingFolder(const char* folder) : old_(open(".", O_RDONLY | O_DIRECTORY)) {
    if (chdir(folder) != 0) throw std::runtime_error(std::string("cannot enter the folder ") + folder);
  }
  ~WorkingFolder() {
    const int result = fchdir(old_);
    static_cast<void>(result);
    close(old_);
  }

 private:
  int old_;
};

enum Status { kRunning = 0, kDone = 1, kFailed = 2 };

struct Simulation {
  VerilatedContext context;
  std::unique_ptr<Model> model;
  Random random;
  Streams streams;
  std::vector<Source> sources;
  std::vector<Recorder> sinks, taps;
  Master master;
  std::string message, folder;
  uint64_t cycle = 0, idle = 0, idle_limit = 0, drain = 0, drained = 0;
  bool started = false;

  Simulation(uint64_t seed, const char* folder_) : random(seed), folder(folder_) {
    context.randReset(seed ? 2 : 0);  // seed 0: registers without a reset start at 0, else at random
    context.randSeed(static_cast<int>(seed & 0x3fffffff) + 1);
    model = std::make_unique<Model>(&context);
    bind(*model, streams);
    master.pins = streams.lite;
    for (const Pins& pins : streams.inputs) {
      Source source;
      source.pins = pins;
      sources.push_back(source);
    }
    for (const Pins& pins : streams.outputs) {
      Recorder recorder;
      recorder.pins = pins;
      sinks.push_back(recorder);
    }
    for (const Pins& pins : streams.taps) {
      Recorder recorder;
      recorder.pins = pins;
      recorder.is_port = false;
      taps.push_back(recorder);
    }
  }

  void tick() {
    *streams.clk = 1;
    model->eval();
  }

  void start() {
    const WorkingFolder inside(folder.c_str());
    for (Source& source : sources) *source.pins.valid = 0;
    for (Recorder& sink : sinks) *sink.pins.ready = 0;
    if (master.pins.awvalid) master.idle();
    if (streams.rst_n) *streams.rst_n = 0;
    for (int i = 0; i < 8; ++i) {
      *streams.clk = 0;
      model->eval();
      tick();
    }
    if (streams.rst_n) *streams.rst_n = 1;
    started = true;
  }

  Status step(uint64_t count) {
    if (!started) start();
    for (; count > 0; --count) {
      *streams.clk = 0;
      for (Source& source : sources) source.drive(random, cycle);
      for (Recorder& sink : sinks) *sink.pins.ready = !sink.pause.holds(cycle) && random.chance(sink.probability);
      master.drive(random);
      model->eval();
      master.sample();
      bool progress = false, missing = false;
      for (Source& source : sources) {
        if (!source.fires()) continue;
        progress = true;
        source.cycles.push_back(cycle);
      }
      for (Recorder& sink : sinks) {
        if (sink.sample(cycle)) progress = true;
        if (sink.cycles.size() > sink.expected && drain) {
          throw std::runtime_error(std::string(sink.pins.name) + ": more than the expected " +
                                   std::to_string(sink.expected) + " beats at cycle " + std::to_string(cycle));
        }
        missing |= sink.cycles.size() < sink.expected;
      }
      for (Recorder& tap : taps) progress |= tap.sample(cycle);
      // Whether a source's beat was taken is decided before the edge, its pins change after it.
      taken_.assign(sources.size(), 0);
      for (size_t i = 0; i < sources.size(); ++i) taken_[i] = sources[i].fires();
      tick();
      master.advance();
      for (size_t i = 0; i < sources.size(); ++i) {
        if (!taken_[i]) continue;
        *sources[i].pins.valid = 0;
        ++sources[i].sent;
      }
      ++cycle;
      if (!missing && ++drained > drain) return kDone;
      idle = progress || !missing ? 0 : idle + 1;
      if (idle >= idle_limit) {
        message = "no beat moved for " + std::to_string(idle) + " cycles (deadlock?): " + waits();
        return kFailed;
      }
    }
    return kRunning;
  }

  std::string waits() const {  // who waits for whom; the pins still show the settled values of the last cycle
    std::string text;
    for (const Source& source : sources) {
      text += std::string(text.empty() ? "" : "; ") + source.pins.name + " " + std::to_string(source.sent) + " of " +
              std::to_string(source.beats) + " beats taken";
      if (source.sent < source.beats) text += *source.pins.ready ? ", ready" : ", waits for tready";
    }
    for (const Recorder& sink : sinks) {
      text += std::string("; ") + sink.pins.name + " " + std::to_string(sink.cycles.size()) + " of " +
              std::to_string(sink.expected) + " beats given";
      if (sink.cycles.size() < sink.expected) text += *sink.pins.valid ? ", valid" : ", waits for tvalid";
    }
    for (const Recorder& tap : taps) {
      const char* state = *tap.pins.valid ? (*tap.pins.ready ? "moves" : "waits for tready")
                                          : (*tap.pins.ready ? "waits for tvalid" : "neither valid nor ready");
      text += std::string("; ") + tap.pins.name + " " + std::to_string(tap.cycles.size()) + " beats, " + state;
    }
    return text;
  }

 private:
  std::vector<uint8_t> taken_;
};

Recorder& recorder(Simulation* simulation, int kind, int index) {
  return kind == 1 ? simulation->sinks.at(index) : simulation->taps.at(index);
}

}  // namespace

void vl_finish(const char*, int, const char*) { throw std::runtime_error("the design called $finish"); }
void vl_stop(const char* file, int line, const char*) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": $stop or a failed assertion");
}
void vl_fatal(const char* file, int line, const char*, const char* text) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + text);
}
void vl_warn(const char* file, int line, const char*, const char* text) {  // a missing or short memory file
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + text);
}

#define API extern "C" __attribute__((visibility("default")))

API Simulation* psaflow_new(uint64_t seed, const char* folder) { return new Simulation(seed, folder); }
API void psaflow_delete(Simulation* simulation) { delete simulation; }

API void psaflow_limits(Simulation* s, uint64_t idle_limit, uint64_t drain) {
  s->idle_limit = idle_limit;
  s->drain = drain;
}
API void psaflow_input(Simulation* s, int index, const uint8_t* data, const uint8_t* last, uint64_t beats, uint64_t packet,
                       double p) {
  Source& source = s->sources.at(index);
  source.data = data;
  source.last = last;
  source.beats = beats;
  source.packet = packet;
  source.probability = p;
}
API void psaflow_output(Simulation* s, int index, uint64_t beats, double p) {
  s->sinks.at(index).expected = beats;
  s->sinks.at(index).probability = p;
  s->drained = 0;
}

// kind 0: input port, 1: output port; it offers or takes no beat from one cycle until another.
API void psaflow_pause(Simulation* s, int kind, int index, uint64_t from, uint64_t until) {
  (kind == 0 ? s->sources.at(index).pause : s->sinks.at(index).pause) = {from, until};
}

// Runs up to `cycles` cycles: 0 go on, 1 every expected beat came, 2 failed (see psaflow_message).
API int psaflow_step(Simulation* s, uint64_t cycles) {
  try {
    return s->step(cycles);
  } catch (const std::exception& error) {
    s->message = error.what();
    return kFailed;
  }
}
// A read or write of the AXI4-Lite slave, the streams going on meanwhile: 1 done, 2 failed (see psaflow_message).
API int psaflow_access(Simulation* s, int write, uint32_t address, uint32_t* data, uint32_t* response) {
  if (!s->master.pins.awvalid) {
    s->message = "the design has no registers";
    return kFailed;
  }
  s->master.begin(write, address, *data);
  for (int cycles = 0; s->master.busy; ++cycles) {
    if (cycles == 10000) {
      s->message = "AXI4-Lite: no answer";
      return kFailed;
    }
    if (psaflow_step(s, 1) == kFailed) return kFailed;
  }
  *data = s->master.data;
  *response = s->master.response;
  return kDone;
}
API const char* psaflow_message(Simulation* s) { return s->message.c_str(); }
API const char* psaflow_waits(Simulation* s) { return (s->message = s->waits()).c_str(); }
API uint64_t psaflow_cycle(Simulation* s) { return s->cycle; }
// The pointers stay valid until the next step. kind 1: output port, 2: tap.
API uint64_t psaflow_sent(Simulation* s, int index, const uint64_t** cycles) {
  const Source& source = s->sources.at(index);
  *cycles = source.cycles.data();
  return source.cycles.size();
}
API void psaflow_stalls(Simulation* s, int kind, int index, uint64_t* blocked, uint64_t* starved) {
  *blocked = recorder(s, kind, index).blocked;
  *starved = recorder(s, kind, index).starved;
}
API uint64_t psaflow_record(Simulation* s, int kind, int index, const uint8_t** data, const uint64_t** cycles,
                            const uint8_t** last) {
  const Recorder& r = recorder(s, kind, index);
  *data = r.data.data();
  *cycles = r.cycles.data();
  *last = r.last.empty() ? nullptr : r.last.data();
  return r.cycles.size();
}
