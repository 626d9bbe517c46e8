// Records when the nests of a run are issued, when and for what they wait, and when their weights come.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "dram.h"
#include "verilated.h"
#include "verilated_sym_props.h"

namespace {

struct NestFacts {
    size_t issue;   // the first nest of those that are issued in the same cycle as it
    size_t engine;  // its bit of `running`
    size_t drain;   // cycles from its end until its last write is done
    bool loads, stores, follows;  // reads an input stream, writes an output stream, follows the nest before it
    size_t beats;   // of the weights that it reads from DRAM
};

struct Probe {  // an engine that may wait: it runs a nest, but takes no step
    size_t engine;
    const char* scope;
};

enum Missing : unsigned { INPUT = 1, OUTPUT = 2, WEIGHTS = 4, PRODUCER = 8 };

const VerilatedVar& find(const VerilatedContext& context, const std::string& scope, const char* variable) {
    const VerilatedScope* const found = context.scopeFind(scope.c_str());
    const VerilatedVar* const result = found ? found->varFind(variable) : nullptr;
    if (!result) fail("the design has no " + scope + "." + variable);
    return *result;
}

// Writes, per run, as uint64: the cycle in which each nest is issued; the cycles of the first and of the last beat of
// each nest with weights from DRAM; the number of levels, and of each the cycle and the free beats of the ring; the
// number of waits, and of each the nest, a sum of `Missing`, the first cycle and the one after the last.
class Recorder {
public:
    Recorder(const VerilatedContext& context, const std::string& path, const std::vector<NestFacts>& nests,
             const std::vector<Probe>& probes, const std::vector<const char*>& readers)
        : m_nests(nests) {
        if (path.empty()) return;
        m_file.open(path, std::ios::binary);
        if (!m_file) fail("cannot write " + path);
        for (const Probe& probe : probes) {
            m_engines[probe.engine] = {flag(context, probe.scope, "running"), flag(context, probe.scope, "stepping")};
        }
        for (const char* reader : readers) {
            m_ready = flag(context, reader, "ready");
            m_room = &find(context, reader, "room");
        }
    }

    bool enabled() const { return m_file.is_open(); }
    bool word_ready() const { return *m_ready; }  // whether there are weights that no nest has read

    void run_starts() {
        m_begins.assign(m_nests.size(), 0);
        m_beats.clear();
        m_levels.clear();
        m_waits.clear();
        m_cycle = m_running = m_reader = m_taken = 0;
    }
    void issued(size_t issue) {
        for (size_t n = issue; n < m_nests.size() && m_nests[n].issue == issue; ++n) m_begins[n] = m_cycle;
        m_event = true;
    }
    // In a cycle in which a nest runs; `missing` is what it depends on and is not there.
    void runs(size_t nest, unsigned missing) {
        if (!enabled() || !((missing & OUTPUT) || waits(m_nests[nest].engine))) return;
        if (missing & OUTPUT) missing = OUTPUT;  // which stops the pipeline, whatever the next step needs
        if (!missing && m_nests[nest].follows) missing = PRODUCER;  // whose end is yet to be seen
        for (auto wait = m_waits.rbegin(); wait != m_waits.rend() && wait->end + 1 >= m_cycle; ++wait) {
            if (wait->nest == nest && wait->missing == missing && wait->end == m_cycle) {
                ++wait->end;
                return;
            }
        }
        m_waits.push_back({nest, missing, m_cycle, m_cycle + 1});
    }
    // At the end of a cycle, with the engines that run, and whether a beat of weights is taken.
    void cycle(uint64_t running, bool taken) {
        if (!enabled()) return;
        bool last = false;
        if (taken) {
            while (!m_nests.at(m_reader).beats) ++m_reader;
            const bool first = m_taken == 0;
            last = ++m_taken == m_nests[m_reader].beats;
            m_beats.insert(m_beats.end(), size_t{first} + size_t{last}, m_cycle);
            m_event = m_event || first;
            if (last) ++m_reader, m_taken = 0;
        }
        if (m_event || m_running & ~running) level();
        m_event = last;
        m_running = running;
        ++m_cycle;
    }
    void run_ended() {
        if (!enabled()) return;
        level();
        write(m_begins);
        write(m_beats);
        write({m_levels.size() / 2});
        write(m_levels);
        write({m_waits.size()});
        for (const Wait& wait : m_waits) write({wait.nest, wait.missing, wait.begin, wait.end});
    }
    void close() {
        if (!enabled()) return;
        m_file.close();
        if (!m_file) fail("cannot write the timeline");
    }

private:
    struct Engine {
        const CData *running, *stepping;
    };
    struct Wait {
        uint64_t nest, missing, begin, end;
    };
    static const CData* flag(const VerilatedContext& context, const std::string& scope, const char* variable) {
        return static_cast<const CData*>(find(context, scope, variable).datap());
    }
    bool waits(size_t number) const {
        const auto engine = m_engines.find(number);
        return engine != m_engines.end() && *engine->second.running && !*engine->second.stepping;
    }
    void level() {
        if (!m_room) return;
        uint64_t room = 0;
        std::memcpy(&room, m_room->datap(), m_room->totalSize());
        m_levels.insert(m_levels.end(), {m_cycle, room});
    }
    void write(const std::vector<uint64_t>& values) {
        m_file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(uint64_t)));
    }

    const std::vector<NestFacts>& m_nests;
    std::ofstream m_file;
    std::map<size_t, Engine> m_engines;
    const CData* m_ready = nullptr;
    const VerilatedVar* m_room = nullptr;
    std::vector<uint64_t> m_begins, m_beats, m_levels;
    std::vector<Wait> m_waits;
    uint64_t m_cycle = 0, m_running = 0;
    size_t m_reader = 0, m_taken = 0;  // the nest whose weights come, and how many beats of them were taken
    bool m_event = false;              // whether the level of the ring is to be recorded in this cycle
};

}  // namespace
