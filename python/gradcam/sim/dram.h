// The DRAM of a simulated design, behind the read channels of AXI4, and what it shares with the rest of the harness.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "verilated.h"

namespace {

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

std::vector<char> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Chance {  // independent events of a fixed probability, the same on every platform
public:
    explicit Chance(uint64_t seed) : m_engine(seed) {}
    bool operator()(double probability) { return static_cast<double>(m_engine() >> 11) * 0x1p-53 < probability; }

private:
    std::mt19937_64 m_engine;
};

struct DramPins {  // the read channels of AXI4, as the design names them
    CData *arvalid, *arready;
    IData* araddr;
    CData *arlen, *arsize, *arburst;
    CData *rvalid, *rready, *rresp, *rlast, *rid;
    CData* error;
    void* rdata;
    size_t beat_bytes;
};

struct DramOptions {  // as in the usage of harness.cpp
    std::string image;
    uint64_t latency = 0, interval = 0, seed = 0, fault = UINT64_MAX;
    double stall = 0;
};

// Answers reads in their order, and checks what AXI4 asks of the one who reads: a request stays as it is until it is
// taken, addresses go up by whole beats inside a block of 4 KiB, and inside what the memory holds.
class Dram {
public:
    Dram(const DramPins& pins, const DramOptions& options)
        : m_pins(pins), m_options(options), m_chance(options.seed), m_image(read_file(options.image)) {
        hide();
    }

    void drive() {
        *m_pins.arready = !late();
        if (*m_pins.rvalid || m_bursts.empty() || m_cycle < m_next || m_cycle < m_bursts.front().ready || late()) return;
        const Burst& burst = m_bursts.front();
        std::memcpy(m_pins.rdata, m_image.data() + burst.address, m_pins.beat_bytes);
        *m_pins.rvalid = 1;
        *m_pins.rlast = burst.beats == 1;
        *m_pins.rid = 0;  // that of all reads
        *m_pins.rresp = m_beats == m_options.fault ? SLVERR : OKAY;
    }
    void sample() {
        const Request request{*m_pins.araddr, *m_pins.arlen, *m_pins.arsize, *m_pins.arburst};
        if (m_waiting && (!*m_pins.arvalid || !(request == m_held))) fail("the read of the DRAM changed before it was taken");
        if (*m_pins.arvalid && !m_waiting) check(request);
        m_held = request;
        m_waiting = *m_pins.arvalid && !*m_pins.arready;
        m_asked = *m_pins.arvalid && *m_pins.arready;
        m_taken = *m_pins.rvalid && *m_pins.rready;
    }
    void clock() {
        if (m_taken) {
            Burst& burst = m_bursts.front();
            burst.address += m_pins.beat_bytes;
            if (--burst.beats == 0) m_bursts.pop_front();
            m_next = m_cycle + m_options.interval;
            ++m_beats;
            hide();
        }
        if (m_asked) m_bursts.push_back({m_held.address, m_held.length + size_t{1}, m_cycle + m_options.latency});
        ++m_cycle;
    }
    bool takes() const { return m_taken; }  // whether the design takes a beat in this cycle
    void finish() const {
        if (*m_pins.error) fail("a read of the DRAM was answered with an error");
        if (!m_bursts.empty() || m_waiting) fail("the run ended before all that it read from the DRAM had come");
    }

private:
    static constexpr CData OKAY = 0, SLVERR = 2, INCR = 1;
    static constexpr uint64_t BLOCK = 4096;
    struct Request {
        uint64_t address;
        size_t length;
        CData size, burst;
        bool operator==(const Request& other) const {
            return address == other.address && length == other.length && size == other.size && burst == other.burst;
        }
    };
    struct Burst {
        uint64_t address;
        size_t beats;
        uint64_t ready;  // first cycle of the first beat
    };

    bool late() { return m_options.stall > 0 && m_chance(m_options.stall); }
    void check(const Request& request) const {
        const uint64_t bytes = (request.length + 1) * m_pins.beat_bytes;
        const std::string name = "the read of " + std::to_string(bytes) + " bytes at " + std::to_string(request.address);
        if (request.burst != INCR) fail(name + " is no burst of type INCR");
        if (size_t{1} << request.size != m_pins.beat_bytes) fail(name + " has beats of another size than the data");
        if (request.address % m_pins.beat_bytes) fail(name + " does not start at a beat");
        if (request.address % BLOCK + bytes > BLOCK) fail(name + " crosses a boundary of 4096 bytes");
        if (request.address + bytes > m_image.size()) fail(name + " goes past the end of the DRAM");
    }
    void hide() {
        *m_pins.rvalid = *m_pins.rlast = 0;
        std::memset(m_pins.rdata, 0xA5, m_pins.beat_bytes);
    }

    const DramPins m_pins;
    const DramOptions& m_options;
    Chance m_chance;
    const std::vector<char> m_image;
    std::deque<Burst> m_bursts;
    Request m_held{};
    uint64_t m_cycle = 0, m_next = 0, m_beats = 0;
    bool m_waiting = false, m_asked = false, m_taken = false;
};

}  // namespace
