// Drives a compiled design: feeds runs to its input streams, collects its output streams, counts the cycles of every
// nest, and on request writes out what each nest left in memory. Everything that depends on the design is in design.h,
// which is generated (see header.py).
//
// Usage: simulator RUNS RESULTS LIMIT [--stall SEED IN OUT] [--buffers FILE] [--timeline FILE]
//                  [--dram IMAGE LATENCY INTERVAL [--dram-stall SEED STALL] [--dram-fault BEAT]]
//   RUNS     per run: 8 bytes per port, then the beats of the input streams, little-endian, in the order of design.h
//   RESULTS  where weights are loaded, two uint64 for it: cycles, checksum; per run: the beats of the output streams, a uint64 per nest (cycles), a uint64 (cycles in all), a double
//            (seconds)
//   LIMIT    cycles after which a run is given up
//   IN, OUT  probability that an input has nothing to offer, or an output is not taken, in a cycle
//   FILE     per run: the words of every dump of design.h; for a timeline see recorder.h
//   IMAGE    what the DRAM holds, LATENCY cycles from a request to its first beat, INTERVAL from beat to beat
//   STALL    probability that a request is not taken, or a beat is not offered, in a cycle
//   BEAT     number of a beat that is answered with an error
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "Vdesign.h"
#include "dram.h"
#include "recorder.h"
#include "verilated.h"
#include "verilated_sym_props.h"

namespace {

struct StreamPins {
    const char* name;
    CData* valid;
    CData* ready;
    void* data;
    size_t data_bytes;  // of the C++ variable
    size_t beats;
    size_t beat_bytes;  // of a beat in a file
};

struct PortPins {
    void* data;
    size_t bits;
};

struct LoadPins {  // of a load of weights before the first run
    CData *load, *loading, *loaded;
    IData* checksum;
};

struct Dump {  // words of a memory, or a register, to write out after a nest
    size_t nest;
    const char* scope;
    const char* variable;
    size_t first;
    size_t words;
    size_t word_bytes;
};

#include "design.h"

struct Options {
    std::string runs, results, buffers, timeline;
    uint64_t limit = 0;
    bool stall = false;
    uint64_t seed = 0;
    double in = 0, out = 0;
    DramOptions dram;
};

Options parse(int argc, char** argv) {
    if (argc < 4) fail("usage: simulator RUNS RESULTS LIMIT [--stall SEED IN OUT] [--buffers FILE]");
    Options options;
    options.runs = argv[1];
    options.results = argv[2];
    options.limit = std::stoull(argv[3]);
    for (int i = 4; i < argc;) {
        const std::string flag = argv[i];
        if (flag == "--stall" && i + 3 < argc) {
            options.stall = true;
            options.seed = std::stoull(argv[i + 1]);
            options.in = std::stod(argv[i + 2]);
            options.out = std::stod(argv[i + 3]);
            i += 4;
        } else if (flag == "--buffers" && i + 1 < argc) {
            options.buffers = argv[i + 1];
            i += 2;
        } else if (flag == "--timeline" && i + 1 < argc) {
            options.timeline = argv[i + 1];
            i += 2;
        } else if (flag == "--dram" && i + 3 < argc) {
            options.dram.image = argv[i + 1];
            options.dram.latency = std::stoull(argv[i + 2]);
            options.dram.interval = std::stoull(argv[i + 3]);
            i += 4;
        } else if (flag == "--dram-stall" && i + 2 < argc) {
            options.dram.seed = std::stoull(argv[i + 1]);
            options.dram.stall = std::stod(argv[i + 2]);
            i += 3;
        } else if (flag == "--dram-fault" && i + 1 < argc) {
            options.dram.fault = std::stoull(argv[i + 1]);
            i += 2;
        } else {
            fail("unknown option " + flag);
        }
    }
    return options;
}

// Offers beats. A beat once offered stays until it is taken; while nothing is offered the data is noise, so that a
// design that reads it is found out.
class Source {
public:
    Source(const StreamPins& pins, const char* beats) : m_pins(pins), m_beats(beats) { hide(); }

    void drive(Chance& chance, double stall) {
        if (*m_pins.valid || m_sent == m_pins.beats || (stall > 0 && chance(stall))) return;
        std::memset(m_pins.data, 0, m_pins.data_bytes);
        std::memcpy(m_pins.data, m_beats + m_sent * m_pins.beat_bytes, m_pins.beat_bytes);
        *m_pins.valid = 1;
    }
    void sample() { m_taken = *m_pins.valid && *m_pins.ready; }
    void clock() {
        if (!m_taken) return;
        ++m_sent;
        hide();
    }
    bool offers() const { return *m_pins.valid; }
    void finish() const {
        if (m_sent != m_pins.beats) fail("the run ended " + progress());
    }
    std::string progress() const {
        return "after " + std::to_string(m_sent) + " of " + std::to_string(m_pins.beats) + " beats of '" + m_pins.name + "'";
    }

private:
    void hide() {
        *m_pins.valid = 0;
        std::memset(m_pins.data, 0, m_pins.data_bytes);
        std::memset(m_pins.data, 0xA5, m_pins.beat_bytes);
    }
    const StreamPins& m_pins;
    const char* m_beats;
    size_t m_sent = 0;
    bool m_taken = false;
};

// Takes beats and checks that a beat offered but not taken is neither withdrawn nor changed.
class Sink {
public:
    explicit Sink(const StreamPins& pins) : m_pins(pins), m_held(pins.beat_bytes) {}

    void drive(Chance& chance, double stall) { *m_pins.ready = !(stall > 0 && chance(stall)); }
    void sample() {
        if (m_waiting && (!*m_pins.valid || std::memcmp(m_pins.data, m_held.data(), m_held.size()) != 0)) {
            fail(std::string("output '") + m_pins.name + "' changed beat " + std::to_string(received()) + " before it was taken");
        }
        m_waiting = *m_pins.valid && !*m_pins.ready;
        if (!*m_pins.valid) return;
        const char* beat = static_cast<const char*>(m_pins.data);
        if (m_waiting) {
            std::copy_n(beat, m_held.size(), m_held.data());
        } else {
            if (received() == m_pins.beats) fail(std::string("output '") + m_pins.name + "' has too many beats");
            m_bytes.insert(m_bytes.end(), beat, beat + m_pins.beat_bytes);
        }
    }
    bool holds() const { return m_waiting; }
    void finish() const {
        if (received() != m_pins.beats) fail("the run ended " + progress());
    }
    std::string progress() const {
        return "after " + std::to_string(received()) + " of " + std::to_string(m_pins.beats) + " beats of '" + m_pins.name + "'";
    }
    const std::vector<char>& bytes() const { return m_bytes; }

private:
    size_t received() const { return m_bytes.size() / m_pins.beat_bytes; }
    const StreamPins& m_pins;
    std::vector<char> m_bytes;
    std::vector<char> m_held;
    bool m_waiting = false;
};

class Buffers {  // writes the memories that a nest wrote, when its last write is done
public:
    Buffers(const VerilatedContext& context, const std::string& path) {
        if (path.empty()) return;
        m_file.open(path, std::ios::binary);
        if (!m_file) fail("cannot write " + path);
        for (const Dump& dump : dumps()) m_dumps.push_back({dump, locate(context, dump)});
    }
    void nest_ended(size_t nest, size_t drain) {
        for (Copy& copy : m_dumps) {
            if (copy.dump.nest == nest) copy.left = drain + 1;
        }
    }
    void clock() {  // after every cycle
        for (Copy& copy : m_dumps) {
            if (copy.left && !--copy.left) copy.words.assign(copy.data, copy.data + copy.dump.words * copy.dump.word_bytes);
        }
    }
    void run_ended() {
        for (Copy& copy : m_dumps) {
            if (copy.left) fail("the run ended before nest " + std::to_string(copy.dump.nest) + " did");
            m_file.write(copy.words.data(), static_cast<std::streamsize>(copy.words.size()));
            copy.words.clear();
        }
    }
    void close() {
        if (!m_file.is_open()) return;
        m_file.close();
        if (!m_file) fail("cannot write the buffers");
    }

private:
    struct Copy {
        Dump dump;
        const char* data;
        size_t left = 0;  // cycles until it is made
        std::vector<char> words = {};
    };
    static const char* locate(const VerilatedContext& context, const Dump& dump) {
        const VerilatedVar& variable = find(context, dump.scope, dump.variable);
        if (variable.totalSize() < (dump.first + dump.words) * dump.word_bytes) {
            fail(std::string("the memory ") + dump.scope + "." + dump.variable + " is smaller than the program says");
        }
        return static_cast<const char*>(variable.datap()) + dump.first * dump.word_bytes;
    }
    std::ofstream m_file;
    std::vector<Copy> m_dumps;
};

class Harness {
public:
    Harness(VerilatedContext& context, Vdesign& top, const Options& options)
        : m_context(context), m_top(top), m_options(options), m_buffers(context, options.buffers), m_nests(nests()),
          m_recorder(context, options.timeline, m_nests, probes(), readers()), m_chance(options.seed), m_inputs(inputs(top)), m_outputs(outputs(top)), m_ports(ports(top)) {
        for (const DramPins& pins : drams(top)) m_drams.push_back(std::make_unique<Dram>(pins, options.dram));
    }

    void reset() {
        m_top.start = 0;
        m_top.rst = 1;
        for (int i = 0; i < 2; ++i) tick();
        m_top.rst = 0;
    }

    // Loads the weights, in a design that has none from the beginning.
    void load(std::ofstream& results) {
        for (const LoadPins& pins : loads(m_top)) {
            uint64_t cycles = 0;
            *pins.load = 1;
            dram_tick();
            *pins.load = 0;
            for (m_top.eval(); *pins.loading; ++cycles) {
                if (cycles > m_options.limit) fail("the weights are not loaded after " + std::to_string(cycles) + " cycles");
                dram_tick();
            }
            for (const auto& dram : m_drams) dram->finish();
            if (!*pins.loaded) fail("the load of weights ended without them");
            const uint64_t checksum = *pins.checksum;
            write(results, &cycles, sizeof cycles);
            write(results, &checksum, sizeof checksum);
        }
    }

    size_t run_bytes() const {
        size_t bytes = m_ports.size() * 8;
        for (const StreamPins& pins : m_inputs) bytes += pins.beats * pins.beat_bytes;
        return bytes;
    }

    void run(const char* data, std::ofstream& results) {
        const auto begin = std::chrono::steady_clock::now();
        set_ports(data, false);
        std::vector<Source> sources;
        const char* beats = data + m_ports.size() * 8;
        for (const StreamPins& pins : m_inputs) {
            sources.emplace_back(pins, beats);
            beats += pins.beats * pins.beat_bytes;
        }
        std::vector<Sink> sinks(m_outputs.begin(), m_outputs.end());
        uint64_t total = 0;
        const std::vector<uint64_t> cycles = execute(data, sources, sinks, total);
        for (const Source& source : sources) source.finish();
        for (const Sink& sink : sinks) sink.finish();
        for (const auto& dram : m_drams) dram->finish();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        for (const Sink& sink : sinks) write(results, sink.bytes().data(), sink.bytes().size());
        write(results, cycles.data(), cycles.size() * sizeof(uint64_t));
        write(results, &total, sizeof total);
        const double wall = seconds.count();
        write(results, &wall, sizeof wall);
        results.flush();  // its size tells how many runs are done
    }

    void close() {
        m_buffers.close();
        m_recorder.close();
    }

private:
    // One run from start to the idle cycle after the last nest, in which `done` must be 1. Returns the cycles of every
    // nest, those from its issue to its end.
    std::vector<uint64_t> execute(const char* data, std::vector<Source>& sources, std::vector<Sink>& sinks, uint64_t& total) {
        std::vector<uint64_t> cycles(m_nests.size());
        std::vector<size_t> open;  // the nests that were issued and have not ended
        size_t issued = m_nests.size();
        uint64_t elapsed = 0;
        bool started = false;
        m_top.start = 1;
        m_recorder.run_starts();
        while (true) {
            for (Source& source : sources) source.drive(m_chance, m_options.in);
            for (Sink& sink : sinks) sink.drive(m_chance, m_options.out);
            for (const auto& dram : m_drams) dram->drive();
            m_top.clk = 0;
            m_top.eval();
            for (Source& source : sources) source.sample();
            for (Sink& sink : sinks) sink.sample();
            for (const auto& dram : m_drams) dram->sample();
            if (started && !m_top.busy) break;
            if (started && m_top.done) fail("'done' is 1 while the design is busy");
            const size_t nest = m_top.nest;
            if (started) {
                if (nest >= cycles.size()) fail("the design runs nest " + std::to_string(nest) + ", which the program lacks");
                if (issued != nest) {
                    for (size_t n = nest; n < m_nests.size() && m_nests[n].issue == nest; ++n) open.push_back(n);
                    issued = nest;
                    m_recorder.issued(nest);
                }
                for (const size_t n : open) {
                    if (!runs(n)) continue;
                    ++cycles[n];
                    m_recorder.runs(n, missing(n, open, sources, sinks));
                }
                const auto takes = [](const auto& dram) { return dram->takes(); };
                m_recorder.cycle(m_top.running, std::any_of(m_drams.begin(), m_drams.end(), takes));
                ++total;
            }
            m_top.clk = 1;
            m_top.eval();
            for (Source& source : sources) source.clock();
            for (const auto& dram : m_drams) dram->clock();
            if (started) {
                for (const size_t n : open) {
                    if (has_ended(n)) m_buffers.nest_ended(n, m_nests[n].drain);
                }
                open.erase(std::remove_if(open.begin(), open.end(), [this](size_t n) { return has_ended(n); }), open.end());
            }
            m_buffers.clock();
            if (!started) {
                started = true;
                m_top.start = 0;
                set_ports(data, true);  // ports are sampled at start: later values must not matter
                if (!m_top.busy) fail("the design does not start");
            }
            if (++elapsed > m_options.limit) give_up(sources, sinks);
        }
        m_buffers.run_ended();
        m_recorder.run_ended();
        if (!m_top.done) fail("'done' is not 1 in the cycle after the last nest");
        tick();
        if (m_top.done) fail("'done' is 1 for more than one cycle");
        return cycles;
    }

    // What a nest may wait for in this cycle, of what it depends on: bits of `Missing`.
    unsigned missing(size_t nest, const std::vector<size_t>& open, const std::vector<Source>& sources,
                     const std::vector<Sink>& sinks) const {
        if (!m_recorder.enabled()) return 0;
        const NestFacts& facts = m_nests[nest];
        const bool offered = std::any_of(sources.begin(), sources.end(), [](const Source& s) { return s.offers(); });
        const bool held = std::any_of(sinks.begin(), sinks.end(), [](const Sink& s) { return s.holds(); });
        const bool producing = nest > 0 && std::count(open.begin(), open.end(), nest - 1) && runs(nest - 1);
        return (facts.loads && !offered ? INPUT : 0) | (facts.stores && held ? OUTPUT : 0)
               | (facts.beats && !m_recorder.word_ready() ? WEIGHTS : 0) | (facts.follows && producing ? PRODUCER : 0);
    }

    bool runs(size_t nest) const { return m_top.running >> m_nests[nest].engine & 1; }

    // Whether a nest that was issued is over: the run is, or a later nest was issued and it does not run beside that.
    bool has_ended(size_t nest) const {
        const size_t latest = m_top.nest;
        if (!m_top.busy) return true;
        if (m_nests[nest].issue == latest) return false;
        bool replaced = false;  // on its engine
        for (size_t n = latest; n < m_nests.size() && m_nests[n].issue == latest; ++n) {
            replaced = replaced || m_nests[n].engine == m_nests[nest].engine;
        }
        return replaced || !runs(nest);
    }

    [[noreturn]] void give_up(const std::vector<Source>& sources, const std::vector<Sink>& sinks) const {
        std::string text = "no end after " + std::to_string(m_options.limit) + " cycles, in nest "
                           + std::to_string(static_cast<size_t>(m_top.nest));
        for (const Source& source : sources) text += ", " + source.progress();
        for (const Sink& sink : sinks) text += ", " + sink.progress();
        fail(text);
    }

    void tick() {
        m_top.clk = 0;
        m_top.eval();
        m_top.clk = 1;
        m_top.eval();
    }

    void dram_tick() {
        for (const auto& dram : m_drams) dram->drive();
        m_top.clk = 0;
        m_top.eval();
        for (const auto& dram : m_drams) dram->sample();
        m_top.clk = 1;
        m_top.eval();
        for (const auto& dram : m_drams) dram->clock();
    }

    void set_ports(const char* values, bool invert) {
        for (size_t i = 0; i < m_ports.size(); ++i) {
            uint64_t value;
            std::memcpy(&value, values + i * 8, sizeof value);
            value = (invert ? ~value : value) & (~uint64_t{0} >> (64 - m_ports[i].bits));
            std::memcpy(m_ports[i].data, &value, (m_ports[i].bits + 7) / 8);
        }
    }

    static void write(std::ofstream& file, const void* data, size_t bytes) {
        file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    }

    VerilatedContext& m_context;
    Vdesign& m_top;
    const Options& m_options;
    Buffers m_buffers;
    const std::vector<NestFacts> m_nests;
    Recorder m_recorder;
    Chance m_chance;
    const std::vector<StreamPins> m_inputs, m_outputs;
    const std::vector<PortPins> m_ports;
    std::vector<std::unique_ptr<Dram>> m_drams;
};

void simulate(const Options& options) {
    VerilatedContext context;
    Vdesign top{&context};
    Harness harness(context, top, options);
    const std::vector<char> runs = read_file(options.runs);
    if (runs.size() % harness.run_bytes()) fail("the file of runs is truncated");
    std::ofstream results(options.results, std::ios::binary);
    harness.reset();
    harness.load(results);
    for (size_t at = 0; at < runs.size(); at += harness.run_bytes()) harness.run(runs.data() + at, results);
    harness.close();
    top.final();
    results.close();
    if (!results) fail("cannot write " + options.results);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        simulate(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
