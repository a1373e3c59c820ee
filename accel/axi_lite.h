// The master of a simulated AXI4-Lite slave, driven cycle by cycle by harness.cc.

#pragma once

#include <cstdint>
#include <stdexcept>

namespace {

struct LitePins {  // of an AXI4-Lite slave; awvalid is null where the top has none
  uint8_t *awvalid = nullptr, *awready, *wvalid, *wready, *bvalid, *bready, *arvalid, *arready, *rvalid, *rready;
  uint8_t *wstrb, *bresp, *rresp;
  uint16_t *awaddr, *araddr;
  uint32_t *wdata, *rdata;
};

// One read or write at a time; every valid and ready of the master comes when it happens to, in any order.
struct Master {
  LitePins pins;
  bool busy = false, writes = false, address_sent = false, data_sent = false;
  bool address_taken = false, data_taken = false, answered = false;
  uint32_t address = 0, data = 0, response = 0;

  void begin(bool write, uint32_t address_, uint32_t data_) {
    busy = true;
    writes = write;
    address = address_;
    data = data_;
    address_sent = data_sent = false;
  }
  void idle() { *pins.awvalid = *pins.wvalid = *pins.bready = *pins.arvalid = *pins.rready = 0; }
  template <class Random>
  void drive(Random& random) {
    if (!busy) return;
    uint8_t* valid = writes ? pins.awvalid : pins.arvalid;
    *(writes ? pins.awaddr : pins.araddr) = static_cast<uint16_t>(address);
    *pins.wdata = data;
    *pins.wstrb = 15;
    if (!address_sent && random.chance(0.5)) *valid = 1;
    if (writes && !data_sent && random.chance(0.5)) *pins.wvalid = 1;
    *(writes ? pins.bready : pins.rready) = random.chance(0.5);
  }
  void sample() {
    if (!busy) return;
    address_taken = writes ? *pins.awvalid && *pins.awready : *pins.arvalid && *pins.arready;
    data_taken = writes && *pins.wvalid && *pins.wready;
    answered = writes ? *pins.bvalid && *pins.bready : *pins.rvalid && *pins.rready;
    if (answered) response = writes ? *pins.bresp : *pins.rresp;
    if (answered && !writes) data = *pins.rdata;
    if (answered && (!address_sent || (writes && !data_sent))) throw std::runtime_error("AXI4-Lite: an answer before the question");
  }
  void advance() {
    if (!busy) return;
    if (address_taken) {
      address_sent = true;
      *(writes ? pins.awvalid : pins.arvalid) = 0;
    }
    if (data_taken) {
      data_sent = true;
      *pins.wvalid = 0;
    }
    if (answered) {
      busy = false;
      idle();
    }
  }
};

}  // namespace
