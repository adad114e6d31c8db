// A checkpoint is complete by itself: it is measured, shown and analysed without the data that it was trained on,
// resumed after they have moved, and used as a start, also without AdamW's state.
#include <sstream>

#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/progress.h"
#include "train/run_log.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

// Data in folders, and a run on them.
struct OnFolders {
    Scratch scratch;
    std::string train = scratch / "train", test = scratch / "test", moved = scratch / "moved", out = scratch / "run",
                checkpoint = checkpoint_in(out);
    OnFolders() {
        expect_ran(fci::run(Words{"generate", "--sequences", "64", "--out", train} + tiny_data()), 0);
        expect_ran(
            fci::run(Words{"generate", "--split", "test", "--test-sequences", "32", "--out", test} + tiny_data()), 0);
    }
    Words start(const std::string& folder, const Words& data) const {
        return Words{"train", "--epochs", "3", "--learning-rate", "1e-2", "--out", folder} + data + tiny_model();
    }
};

// The same without AdamW's state, or with other metadata.
std::string rewritten(const std::string& from, const std::string& to, bool moments,
                      const std::function<void(Metadata&)>& change = {}) {
    const SafetensorsFile file(from);
    std::vector<StoredTensor> tensors;
    for (const StoredTensor& t : file.tensors())
        if (moments || !t.name.starts_with("adamw.")) tensors.push_back(t);
    Metadata metadata = file.metadata();
    if (change) change(metadata);
    write_safetensors(to, tensors, metadata);
    return to;
}

std::string after(const std::string& text, const std::string& key) { // to the end of the line
    const size_t at = text.find(key);
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

} // namespace

TEST_CASE("checkpoint: measured on other data when its own are gone; chance is then not known", "[cli]") {
    const OnFolders f;
    expect_ran(run(f.start(f.out, {"--data", f.train})), 0);
    const Ran with = run({"eval", f.checkpoint, "--data", f.test});
    expect_ran(with, 0, "chance   ");
    fs::rename(f.train, f.moved);

    const Ran without = run({"eval", f.checkpoint, "--data", f.test});
    expect_ran(without, 0,
               "chance is not known, because the training set is not there: " + f.train + ": no such folder");
    CHECK(after(without.out, "test    ") == after(with.out, "test    "));
    CHECK_FALSE(after(with.out, "test    ").empty());
    const Ran json = run({"eval", f.checkpoint, "--data", f.test, "--json", "--quiet"});
    expect_ran(json, 0, "\"chance\":null");
    CHECK(json.out.find("\"data_hash\":\"" + SafetensorsFile(f.checkpoint).metadata().at("data_hash")) !=
          std::string::npos);
    expect_ran(run({"show", "--checkpoint", f.checkpoint, "--data", f.test, "--count", "1"}), 0, "It chose #1 ");
    expect_ran(run({"analyze", f.checkpoint, "--data", f.test, "--sequences", "2"}), 0, "chance is not known");
    for (const Words& words :
         {Words{"eval", f.checkpoint}, Words{"show", "--checkpoint", f.checkpoint}, Words{"analyze", f.checkpoint}})
        expect_refused(run(words), 3, f.train + ": no such folder; measure on other data with --data");
    expect_refused(run({"eval", f.checkpoint, "--data", f.train}), 3, "no such folder");
    expect_refused(run({"show", "--data", f.test}), 2, "it needs --checkpoint");

    // A test set of another length.
    expect_ran(run({"generate", "--task", "mqar", "--length", "40", "--pairs", "4", "--vocab", "16", "--sequences", "8",
                    "--out", f.scratch / "longer"}),
               0);
    expect_refused(run({"eval", f.checkpoint, "--data", f.scratch / "longer"}), 3,
                   "length 40 and a vocabulary of 16; the model is made for 32 and 16");

    // Other data at the same place: the held-out set differs from the run's, so it is refused; nothing else is.
    fs::copy(f.test, f.train, fs::copy_options::recursive);
    expect_refused(run({"eval", f.checkpoint}), 3, "it was trained on other data than " + f.train + " holds now");
    expect_ran(run({"eval", f.checkpoint, "--data", f.test}), 0, "chance is not known");
}

TEST_CASE("checkpoint: a test set of its own needs no training data", "[cli]") {
    const OnFolders f;
    expect_ran(run(f.start(f.out, {"--data", f.train, "--test-data", f.test})), 0);
    const Ran with = run({"eval", f.checkpoint});
    fs::remove_all(f.train);
    const Ran without = run({"eval", f.checkpoint});
    expect_ran(without, 0, "chance is not known");
    CHECK(after(without.out, "test    ") == after(with.out, "test    "));
    expect_ran(run({"show", "--checkpoint", f.checkpoint, "--count", "1"}), 0, "It chose #1 ");
    expect_ran(run({"analyze", f.checkpoint, "--sequences", "2"}), 0, "32 test sequences");
}

TEST_CASE("checkpoint: a router of text is measured and shown without its file", "[cli][hotpot]") {
    const Scratch scratch;
    const std::string own = scratch / "own.json", other = scratch / "other.json", out = scratch / "run";
    for (const auto& [path, seed] : {std::pair(own, "1"), {other, "2"}})
        expect_ran(run({"generate", "--task", "hotpotqa", "--sequences", "20", "--seed", seed, "--out", path}), 0);
    expect_ran(run({"train", "--task", "hotpotqa", "--data", own, "--length", "256", "--epochs", "1", "--batch", "8",
                    "--d-model", "16", "--heads", "2", "--threads", "1", "--out", out}),
               0);
    fs::rename(own, scratch / "moved.json");
    expect_ran(run({"eval", checkpoint_in(out), "--data", other}), 0, "chance is not known");
    expect_ran(run({"show", "--checkpoint", checkpoint_in(out), "--data", other, "--count", "1"}), 0,
               "Test example 1: id generated-2-1-");
    expect_ran(run({"analyze", checkpoint_in(out), "--data", other, "--sequences", "1"}), 0, "cosine_qa");
    expect_refused(run({"eval", checkpoint_in(out)}), 3, "measure on other data with --data");
    expect_ran(run({"train", "--resume", out, "--data", scratch / "moved.json"}), 0, "done in");
}

TEST_CASE("checkpoint: a run whose data moved goes on where they are now, to the same bits", "[cli]") {
    const OnFolders f;
    const Words data{"--data", f.train, "--test-data", f.test};
    expect_ran(run(f.start(f.scratch / "whole", data)), 0);
    expect_ran(run(f.start(f.out, data) + Words{"--stop-after", "1"}), 0);
    fs::copy(f.out, f.scratch / "early", fs::copy_options::recursive);
    fs::remove(checkpoint_in(f.scratch / "early"));
    fs::rename(f.train, f.moved);
    const auto resume = [&](const std::string& folder, const Words& more) {
        return run(Words{"train", "--resume", folder, "--quiet"} + more);
    };
    expect_refused(resume(f.out, {}), 3,
                   f.train + ": the data of the run in " + f.out +
                       " are not there; if they have moved, name the place with --data");
    expect_refused(resume(f.out, {"--data", f.test}), 3, "it was trained on other data than " + f.test + " holds now");
    const std::string early = f.scratch / "early";
    expect_refused(resume(early, {"--data", f.test}), 3, "config.toml: the run was started on other data than");
    for (const std::string& folder : {f.out, early}) {
        expect_ran(resume(folder, {"--data", f.moved, "--stop-after", "2"}), 0);
        CHECK(read_file(folder + "/config.toml").find("\ndata = \"" + f.moved + "\"\n") != std::string::npos);
        CHECK(read_file(folder + "/config.toml").find("\n[provenance]\n") != std::string::npos);
        expect_refused(resume(folder, {"--stop-after", "1"}), 2,
                       "--stop-after 1: " + folder + " has made 2 epochs already");
        expect_ran(resume(folder, {}), 0); // the checkpoint now has the new place
        CHECK(same_tensors(folder, f.scratch / "whole"));
    }
    expect_ran(run({"eval", f.checkpoint}), 0, "chance   ");
    expect_ran(run(tiny_run(f.scratch / "made")), 0);
    expect_refused(resume(f.scratch / "made", {"--data", f.moved}), 2, "generates its data; leave the flag out");
}

TEST_CASE("checkpoint: weights alone are measured and a start, and a run says that it cannot go on from them",
          "[cli]") {
    const Scratch scratch;
    const std::string out = scratch / "run", checkpoint = checkpoint_in(out);
    expect_ran(run(tiny_run(out)), 0);
    const std::string weights = rewritten(checkpoint, scratch / "weights.safetensors", false);
    const std::string bare =
        rewritten(checkpoint, scratch / "bare.safetensors", false, [](Metadata& m) { m.clear(); }); // of any program
    const Ran whole = run({"eval", checkpoint}), alone = run({"eval", weights});
    expect_ran(alone, 0, "accuracy");
    CHECK(alone.out == whole.out);
    expect_ran(run({"show", "--checkpoint", weights, "--count", "1"}), 0, "It chose #1 ");
    expect_ran(run({"analyze", weights, "--sequences", "2"}), 0, "wqk_rank");
    expect_refused(run({"eval", bare}), 3, "its metadata has no 'format'; if it has a model's weights, fci train");
    fs::copy(out, scratch / "copy", fs::copy_options::recursive);
    fs::copy(weights, checkpoint_in(scratch / "copy"), fs::copy_options::overwrite_existing);
    expect_refused(run({"train", "--resume", scratch / "copy", "--quiet"}), 3, "it has no AdamW state");

    // The same start gives the same bits, whatever the file has beside the weights.
    const auto from = [&](const std::string& file, const std::string& name, const Words& more = {}) {
        return run(tiny_run(scratch / name) + Words{"--quiet", "--init-from", file} + more);
    };
    expect_ran(from(checkpoint, "one"), 0);
    expect_ran(from(weights, "two"), 0);
    expect_ran(from(bare, "three", {"--stop-after", "1"}), 0);
    fs::remove(bare);
    expect_ran(run({"train", "--resume", scratch / "three", "--quiet"}), 0);
    CHECK(same_tensors(scratch / "one", scratch / "two"));
    CHECK(read_file(scratch / "two/config.toml")
              .ends_with(fmt::format("init_hash = \"{:016x}\"\n", SafetensorsFile(weights).hash())));
    CHECK(same_tensors(scratch / "one", scratch / "three"));
    CHECK_FALSE(same_tensors(scratch / "one", out));
    const std::string log = read_file(scratch / "one/log.jsonl"), first = read_file(out + "/log.jsonl");
    const auto loss = [](const std::string& text) { return std::stod(text.substr(text.find("\"loss\":") + 7)); };
    CHECK(loss(log) < 0.7 * loss(first)); // of the first step: it begins where the other run ended

    // If it is stopped before its first epoch ended, it does not need the file again.
    expect_ran(from(weights, "four", {"--stop-after", "1"}), 0);
    CHECK(SafetensorsFile(checkpoint_in(scratch / "four")).metadata().at("config").find(weights) != std::string::npos);

    expect_refused(from(weights, "five", {"--heads", "4"}), 2, "its model has --heads 2, this run has 4");
    expect_refused(from(checkpoint + "x", "five"), 3, "cannot be read");
    const float one = 1;
    write_safetensors(scratch / "other", {{"w", "F32", {1}, &one, sizeof one}});
    expect_refused(from(scratch / "other", "five"), 3, "was it written for another model?");
    CHECK_FALSE(fs::exists(scratch / "five"));
    expect_refused(run({"train", "--router", "bloom", "--init-from", weights}), 2,
                   "--init-from " + weights + " would do nothing");
}

TEST_CASE("checkpoint: saved again by another program, it is named as such", "[cli]") {
    const Scratch scratch;
    const std::string out = scratch / "run", other = scratch / "again.safetensors";
    expect_ran(run(tiny_run(out)), 0);
    std::string bytes = read_file(checkpoint_in(out));
    // As other programs write it: a space after the first brace, and one space less of padding at the header's end.
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    REQUIRE(bytes[8] == '{');
    bytes.insert(9, 8, ' ');
    header += 8;
    std::memcpy(bytes.data(), &header, sizeof header);
    write_file_atomically(other, bytes);
    expect_refused(run({"eval", other}), 3,
                   other + ": it was saved again by another program, which kept the checksum of fci's file");
    expect_ran(run({"eval", rewritten(checkpoint_in(out), other, true)}), 0, "accuracy");
}

TEST_CASE("checkpoint: a run's folder stands for its checkpoint, and the checkpoint for the folder", "[cli]") {
    const Scratch scratch;
    const std::string out = scratch / "run", file = checkpoint_in(out), empty = scratch / "empty";
    expect_ran(run(tiny_run(out) + Words{"--stop-after", "1"}), 0);
    fs::create_directory(empty);
    write_file_atomically(scratch / "asked", fmt::format("{}\n", fmt::join(std::vector<int>(32, 0), " ")));
    for (const Words& words : {Words{"eval"},
                               {"route", "--data", scratch / "asked"},
                               {"show", "--count", "1", "--checkpoint"},
                               {"analyze", "--sequences", "2"}}) {
        INFO(words[0]);
        const Ran by_folder = run(words + Words{out});
        expect_ran(by_folder, 0);
        CHECK(by_folder.out == run(words + Words{file}).out);
        expect_refused(run(words + Words{empty}), 3, empty + ": there is no checkpoint.safetensors in this folder");
    }
    const auto from = [&](const std::string& start, const std::string& name) {
        return run(tiny_run(scratch / name) + Words{"--quiet", "--stop-after", "1", "--init-from", start});
    };
    expect_ran(from(out, "one"), 0);
    expect_ran(from(file, "two"), 0);
    CHECK(same_tensors(scratch / "one", scratch / "two"));
    expect_refused(from(empty, "three"), 3, "there is no checkpoint.safetensors in this folder");

    for (const auto& [curve, of] : {std::pair("a.svg", out), {"b.svg", file}})
        expect_ran(run({"plot", "curves", of, "--out", scratch / curve}), 0);
    CHECK(read_file(scratch / "a.svg") == read_file(scratch / "b.svg"));

    expect_ran(run(tiny_run(scratch / "whole")), 0);
    expect_ran(run({"train", "--quiet", "--resume", file}), 0);
    CHECK(same_tensors(out, scratch / "whole"));
    const std::string copy = out + "/other.safetensors"; // a resumed run would not look at it
    fs::copy(file, copy);
    expect_refused(run({"train", "--resume", copy}), 2, "there is no run in it (no config.toml)");
}

TEST_CASE("checkpoint: epochs added to a run, at once or one by one, are those of a run that was planned so", "[cli]") {
    const Scratch scratch;
    const auto resume = [&](const std::string& name, const Words& more) {
        return run(Words{"train", "--resume", scratch / name} + more);
    };
    expect_ran(run(tiny_run(scratch / "planned") + Words{"--added-epochs", "2"}), 0, "epoch   5/5");
    for (const char* name : {"ended", "stopped"})
        expect_ran(run(tiny_run(scratch / name) + Words{"--stop-after", name == Words{"ended"}[0] ? "3" : "1"}), 0);
    const Ran one = resume("ended", {"--epochs", "+1", "--device", "cpu"});
    expect_ran(one, 0, "after epoch 3 the rate is 0.0004, OneCycle's first; its last is too small\n");
    CHECK(one.out.find("resumed " + scratch / "ended" + " at step 24 of 32\n") != std::string::npos);
    expect_ran(resume("ended", {}), 0, "at step 32 of 32"); // no steps are left: resuming adds none
    expect_ran(resume("ended", {"--epochs", "+1"}), 0, "at step 32 of 40");
    expect_ran(resume("stopped", {"--epochs", "+2", "--stop-after", "4"}), 0, "at step 8 of 40");
    expect_ran(resume("stopped", {}), 0, "at step 32 of 40");
    for (const char* name : {"ended", "stopped"}) {
        CHECK(same_tensors(scratch / name, scratch / "planned"));
        CHECK(read_file(scratch / name + "/config.toml").find("\nadded_epochs = 2\n") != std::string::npos);
    }
    expect_ran(run({"eval", scratch / "ended"}), 0, "step 40");
    const std::string log = read_file(scratch / "ended/log.jsonl"), last = log.substr(log.find("\"step\":25,"));
    CHECK(last.find("\"learning_rate\":0.0004,") != std::string::npos);

    expect_refused(resume("ended", {"--epochs", "6"}), 2,
                   "has 3; leave the flag out to continue it, or start a new run with --out; --epochs +N adds epochs");
    for (const char* wrong : {"+", "+0", "+x", "+1.5", "+99999999"})
        expect_refused(resume("ended", {"--epochs", wrong}), 2, "expected the number of epochs to add after the +");
    expect_refused(resume("ended", {"--epochs", "+1048576"}), 2,
                   "a run has at most 1048576 epochs, and this one has 5");
    expect_refused(run({"train", "--epochs", "+1"}), 2,
                   "there is no run to add epochs to; write --resume RUN --epochs +1");
    expect_refused(run({"train", "--router", "linucb", "--added-epochs", "1"}), 2, "would do nothing");
}

TEST_CASE("log: an epoch has its loss and its seconds, also where the run was stopped amid it", "[cli]") {
    const Scratch scratch;
    const std::string out = scratch / "run", log = out + "/log.jsonl";
    expect_ran(run(tiny_run(scratch / "whole")), 0,
               "\ntest set    train loss  routing@2  routing@1   accuracy   time left\n");
    Child child(tiny_run(out) + Words{"--checkpoint-every", "1", "--epochs", "400"}); // the last --epochs wins
    while (child.running() &&
           (!fs::exists(log) || std::count_if(std::istreambuf_iterator<char>(std::ifstream(log).rdbuf()), {},
                                              [](char c) { return c == '\n'; }) < 12))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    child.kill(SIGTERM);
    child.wait();
    const double before = read_run_log(log).seconds;
    CHECK(before > 0);
    const Ran rest = run({"train", "--resume", out, "--json", "--quiet", "--stop-after", "1"});
    expect_ran(rest, 0);
    CHECK(std::stod(rest.out.substr(rest.out.find("\"seconds\":") + 10)) > before);
    double sum = 0, last = 0;
    int steps = 0;
    std::istringstream lines(read_file(log));
    for (std::string line; std::getline(lines, line);) {
        const auto number = [&](const std::string& key) {
            return std::stod(line.substr(line.find("\"" + key + "\":") + key.size() + 3));
        };
        if (line.starts_with(step_line)) {
            sum += number("loss"), ++steps;
        } else if (line.starts_with("{\"type\":\"epoch\"")) {
            CHECK(number("loss") == Approx(sum / steps).epsilon(1e-12));
            CHECK(number("seconds") >= last);
            last = number("seconds"), sum = steps = 0;
        }
    }
    CHECK(last > 0);
}

TEST_CASE("progress: a status keeps to 79 letters, a count to three digits", "[cli]") {
    CHECK(status_line({"epoch 1/40", "loss 2.00"}) == "epoch 1/40  loss 2.00");
    const std::string longest =
        status_line({"epoch 100/100", "1000/1000", "loss 10.95", "batch 100.0%", "999k tok/s 100%", "39 min 40 s"});
    CHECK(longest.size() < 80);
    CHECK(longest.find("  ") == std::string::npos);
    for (const auto& [x, text] : {std::pair(7.4, "7"),
                                  {999.4, "999"},
                                  {999.6, "1k"},
                                  {14123., "14.1k"},
                                  {999499., "999k"},
                                  {999600., "1M"},
                                  {2.345e6, "2.35M"}})
        CHECK(short_count(x) == text);
}
