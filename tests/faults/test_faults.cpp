// Injected faults: a write, fsync, rename, mkdir, open or allocation that fails, or a write cut short (shim/shim.cpp),
// during each kind of command. The command ends with a documented code and names the cause, and files stay complete.
// Here a few of each; [campaign] (make campaign) tries them all.
#include <cerrno>
#include <map>

#include "tests/catch.h"
#include "tests/faults/place.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they must be loaded first

using namespace fci;
namespace fs = std::filesystem;

namespace {

std::string shim() {
    const char* given = std::getenv("FCI_SHIM");
    const std::string path = fs::absolute(given && *given ? given : "build/release/tests/shim.so");
    if (!fs::exists(path)) FAIL(path << " is not there: make test builds it, or set FCI_SHIM");
    return path;
}

std::function<void()> with_fault(const std::string& plan, const std::string& count = "") {
    return [=, library = shim()] {
        ::alarm(60); // a hang ends by SIGALRM
        ::setenv("LD_PRELOAD", library.c_str(), 1);
        ::setenv("FCI_FAULT", plan.c_str(), 1);
        if (!count.empty()) ::setenv("FCI_FAULT_COUNT", count.c_str(), 1);
    };
}

struct Fault {
    const char *call, *counted;
    int error;
    std::vector<std::string> causes; // the message contains one of them
};
const std::vector<Fault> faults{{"write", "write", ENOSPC, {"No space left"}},
                                {"short", "write", 0, {}},
                                {"fsync", "fsync", EIO, {"Input/output error"}},
                                {"rename", "rename", EIO, {"Input/output error"}},
                                {"mkdir", "mkdir", EACCES, {"Permission denied"}},
                                {"open", "open", EMFILE, {"Too many open files"}},
                                {"malloc", "malloc", ENOMEM, {"memory", "cannot be started", "std::bad_alloc"}}};

// A command and what must hold after it. Each run begins in its own place, which `prepare` creates.
struct Command {
    std::string name;
    std::function<std::unique_ptr<Child>(const std::function<void()>&)> start; // in a new place
    std::function<void(const Ran&)>
        whole; // checks the place after exit 0 and after a fault (then also runs the command again)
};

struct Tried {
    int runs = 0, failed = 0;
};

// At most `most` faults of each kind, spread over the command.
Tried inject(const Command& c, int most, int most_allocations) {
    const Scratch scratch;
    const std::string counts = scratch / "counts";
    const Ran plain = c.start(with_fault("", counts))->wait();
    expect_ran(plain, 0);
    c.whole(plain);
    std::map<std::string, long> calls;
    std::istringstream in(read_file(counts));
    for (std::string line; std::getline(in, line);)
        calls[line.substr(0, line.find('='))] = std::stol(line.substr(line.find('=') + 1));
    REQUIRE(calls.size() == 6);
    Tried tried;
    for (const Fault& f : faults) {
        const long n = calls[f.counted], tries = std::min<long>(n, f.error == ENOMEM ? most_allocations : most);
        for (long i = 0; i < tries; ++i) {
            const std::string plan = fmt::format("{}:{}:{}", f.call, 1 + (2 * i + 1) * n / (2 * tries), f.error);
            const Ran r = c.start(with_fault(plan))->wait();
            INFO(c.name << " with " << plan << ": exit code " << r.code << "\nout: " << r.out << "\nerr: " << r.err);
            REQUIRE((r.code == 0 || r.code == 1));
            if (r.code == 1) {
                REQUIRE(r.err.find("fci: ") != std::string::npos);
                REQUIRE(std::any_of(f.causes.begin(), f.causes.end(),
                                    [&](const std::string& cause) { return r.err.find(cause) != std::string::npos; }));
            }
            c.whole(r);
            ++tried.runs, tried.failed += r.code == 1;
        }
    }
    return tried;
}

void inject_all(int most, int most_allocations) {
    const Scratch base;
    expect_ran(run(tiny_run(base / "run")), 0);
    const std::string checkpoint = checkpoint_in(base / "run");
    const auto text_of = [](const std::string& path) { return fs::exists(path) ? read_file(path) : ""; };
    std::optional<Scratch> here;
    std::optional<Place> place;
    const auto fresh = [&](const std::function<Words()>& words) {
        return [&, words](const std::function<void()>& in_child) {
            here.emplace();
            return std::make_unique<Child>(words(), in_child);
        };
    };
    const auto resumes = [&](const Ran& r) {
        const std::string folder = *here / "run";
        if (r.code == 0) REQUIRE(same_tensors(folder, base / "run"));
        if (r.code == 0 || !fs::exists(folder + "/config.toml")) return;
        expect_ran(run({"train", "--resume", folder, "--quiet"}), 0);
        REQUIRE(same_tensors(folder, base / "run"));
    };
    const auto file_is = [&](const std::string& name, const std::string& before) {
        return [&, name, before, first = std::make_shared<std::string>()](const Ran& r) { // new, or unchanged
            const std::string now = text_of(*here / name);
            if (first->empty()) *first = now;
            REQUIRE((now == *first || (r.code != 0 && now == before)));
        };
    };
    const auto says = [first = std::make_shared<std::string>()](const Ran& r) {
        if (first->empty()) *first = r.out.substr(0, r.out.find("\"seconds\""));
        REQUIRE((r.code != 0 || r.out.starts_with(*first)));
    };
    const std::string earlier = "an earlier figure";
    const std::vector<Command> commands{
        {"train", fresh([&] { return tiny_run(*here / "run") + Words{"--quiet"}; }), resumes},
        {"train --resume",
         [&](const std::function<void()>& in_child) {
             here.emplace();
             expect_ran(run(tiny_run(*here / "run") + Words{"--stop-after", "1"}), 0);
             return std::make_unique<Child>(Words{"train", "--resume", *here / "run", "--quiet"}, in_child);
         },
         resumes},
        {"eval", fresh([&] { return Words{"eval", checkpoint, "--json", "--quiet", "--threads", "1"}; }), says},
        {"generate", fresh([&] {
             return Words{"generate", "--out", *here / "data", "--sequences", "20", "--threads", "1"} + tiny_data();
         }),
         file_is("data/tokens.npy", "")},
        {"plot", fresh([&] {
             write_file_atomically(*here / "curves.svg", earlier);
             return Words{"plot", "curves", base / "run", "--out", *here / "curves.svg"};
         }),
         file_is("curves.svg", earlier)},
        {"sweep",
         [&](const std::function<void()>& in_child) {
             place.emplace(1);
             return place->start({"sweep", "a.raw"}, in_child);
         },
         [&](const Ran&) { // after any fault, the same command completes the work
             expect_ran((*place)({"sweep", "a.raw"}), 0);
             REQUIRE(place->numbers().size() == 1);
         }},
        {"table",
         [&](const std::function<void()>& in_child) {
             return place->start({"table", "a.raw"}, in_child);
         },
         [](const Ran&) {}}};
    Tried all;
    for (const Command& c : commands) {
        const Tried t = inject(c, most, most_allocations);
        all.runs += t.runs, all.failed += t.failed;
    }
    CHECK(all.failed > all.runs / 4); // the faults do reach the program
    WARN(all.runs << " faults injected, " << all.failed << " of them ended the command");
}

} // namespace

TEST_CASE("faults: whatever call fails, the code is documented, the cause is named and files are whole", "[faults]") {
    inject_all(3, 8);
}

TEST_CASE("faults: all of them", "[.][campaign]") { inject_all(1 << 20, 400); }

TEST_CASE("faults: from some allocation on, none succeeds", "[faults]") {
    const Scratch scratch;
    for (const int n : {1, 300, 1500, 5000, 15000}) {
        const Ran r = run(tiny_run(scratch / std::to_string(n)), with_fault(fmt::format("malloc:{}+:{}", n, ENOMEM)));
        INFO("from " << n << " on: " << r.err);
        CHECK(r.code == 1);
        CHECK(r.err.find("memory") != std::string::npos);
    }
}

TEST_CASE("faults: features that do not fit the disk are refused before any is computed", "[faults]") {
    const Scratch scratch;
    Words train{"train", "--task", "mqar", "--length", "32", "--pairs", "4", "--vocab", "16", "--heads", "2"};
    for (const std::string& word :
         {std::string("--sequences"), std::string("50"), std::string("--backbone"),
          fs::absolute("tests/golden/backbones/llama_tied").string(), std::string("--backbone-cache"),
          scratch / "cache", std::string("--out"), scratch / "run"})
        train.push_back(word);
    const auto on_a_disk_of = [&](const std::string& bytes) {
        return run(train + Words{"--epochs", "1"}, [=, with = with_fault("")] {
            with();
            ::setenv("FCI_FREE", bytes.c_str(), 1);
        });
    };
    const Ran r = on_a_disk_of("8192");
    INFO(r.err);
    CHECK(r.code == 1);
    CHECK(r.err.find("do not fit, the disk has 0.0 MB left: free some space, choose another folder") !=
          std::string::npos);
    for (const auto& e : fs::recursive_directory_iterator(scratch.path)) CHECK(e.path().extension() != ".safetensors");
    expect_ran(on_a_disk_of("1000000000"), 0);
}

#endif
