// Files written atomically, logs, output folders: also under concurrency, without permission and on a full disk.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "core/check.h"
#include "core/files.h"
#include "core/hash.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;
namespace fs = std::filesystem;

static pid_t ended_process() {
    const pid_t gone = ::fork();
    REQUIRE(gone >= 0);
    if (gone == 0) ::_exit(0);
    REQUIRE(::waitpid(gone, nullptr, 0) == gone);
    return gone;
}

TEST_CASE("files: a reader sees the old file or the new one while others write it") {
    const Scratch scratch;
    const std::string path = scratch / "a";
    const std::string contents[] = {std::string(100'000, 'a'), std::string(50'000, 'b'), ""};
    write_file_atomically(path, contents[0]);
    std::atomic<int> torn = 0;
    std::vector<std::thread> threads;
    for (int writer = 0; writer < 3; ++writer)
        threads.emplace_back([&, writer] {
            for (int i = 0; i < 10; ++i) write_file_atomically(path, contents[(writer + i) % 3]);
        });
    threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) {
            const std::string s = read_file(path);
            torn += s != contents[0] && s != contents[1] && s != contents[2];
        }
    });
    for (std::thread& t : threads) t.join();
    REQUIRE(torn == 0);
    REQUIRE(scratch.names() == std::set<std::string>{"a"});
}

TEST_CASE("files: a log holds whole lines only") {
    const Scratch scratch;
    const std::string path = scratch / "log.jsonl";
    {
        LogFile log(path);
        log.line(R"({"step":1})");
        REQUIRE(log.size() == 11);
        log.sync();
    }
    LogFile log(path);
    log.line(R"({"step":2})");
    log.line("");
    REQUIRE(read_file(path) == "{\"step\":1}\n{\"step\":2}\n\n");
    expect_error(error_of([&] { log.line("a\nb"); }), Exit::internal, "line break");

    for (const int64_t offset : {-1, 1, 12, 24, 1000})
        expect_error(error_of([&] { log.truncate_to(offset); }), Exit::bad_data,
                     fmt::format("{}: no line ends at byte {} of 23", path, offset));
    log.truncate_to(11);
    log.line("new");
    REQUIRE(read_file(path) == "{\"step\":1}\nnew\n");
    log.truncate_to(0);
    REQUIRE(log.size() == 0);
    expect_error(error_of([&] { log.truncate_to(11); }), Exit::bad_data,
                 "is missing or empty; the log of this checkpoint "
                 "has 11 bytes");

    const std::string error = error_in_child([&] {
        limit_file_size(100);
        for (;;) log.line(std::string(39, 'x'));
    });
    expect_error(error, Exit::internal, path + ": cannot be written: File too large");
    REQUIRE(log.size() == 80);
    if (fs::exists("/dev/full")) {
        LogFile full("/dev/full");
        expect_error(error_of([&] { full.line("a"); }), Exit::internal,
                     "/dev/full: cannot be written: No space left on device; the disk is full");
    }
    expect_error(error_of([&] { LogFile nowhere(scratch / "none/log"); }), Exit::internal,
                 "none/log: cannot be written");
}

TEST_CASE("files: output folders") {
    const Scratch scratch;
    const std::string out = scratch / "a/b/out/";
    make_output_folder(out);
    REQUIRE(fs::is_directory(out));
    make_output_folder(out); // still empty
    write_file_atomically(out + "file", "1");
    expect_error(error_of([&] { make_output_folder(out); }), Exit::usage,
                 "out: already exists: choose another --out, or continue it with --resume");
    expect_error(error_of([&] { make_output_folder(out + "file"); }), Exit::usage, "is a file, not a folder");
    expect_error(error_of([&] { make_output_folder(out + "file/x"); }), Exit::usage, "file: is a file, not a folder");
    expect_error(error_of([] { make_output_folder(""); }), Exit::usage, "the name is empty");
    for (const std::string& folder : {scratch / "new", scratch / "a/b/empty"}) {
        if (folder.ends_with("empty")) fs::create_directory(folder);
        const std::string error = error_in_child([&] {
            if (::geteuid() == 0 ? ::setuid(65534) != 0 : ::chmod(fs::path(folder).parent_path().c_str(), 0555) != 0)
                ::_exit(2);
            if (fs::exists(folder)) ::chmod(folder.c_str(), 0555);
            make_output_folder(folder);
        });
        ::chmod(scratch.path.c_str(), 0755);
        expect_error(error, Exit::internal, "Permission denied");
    }

    std::vector<std::string> names(40);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (size_t i = t; i < names.size(); i += 4) names[i] = unused_name(scratch / "runs/", "mqar");
        });
    for (std::thread& t : threads) t.join();
    const std::set<std::string> distinct(names.begin(), names.end());
    REQUIRE(distinct.size() == names.size());
    REQUIRE(*distinct.begin() == scratch / "runs/mqar-001");
    REQUIRE(*distinct.rbegin() == scratch / "runs/mqar-040");
    REQUIRE(fs::is_directory(*distinct.rbegin()));
}

TEST_CASE("files: hash64 is XXH64") {
    REQUIRE(hash64("") == 0xef46db3751d8e999);
    REQUIRE(hash64("a") == 0xd24ec4f1a98c6e5b);
    REQUIRE(hash64("abc") == 0x44bc2cf5ad770999);
    REQUIRE(hash64("Nobody inspects the spammish repetition") == 0xfbcea83c8a378bf1);
    REQUIRE(hash64("xxhash", 20141025) == 0xb559b98d844e0635);
}

TEST_CASE("files: read_file reads to the end, a shell's pipes too; what would be waited for is refused") {
    const Scratch scratch;
    const std::string bytes(300'000, 'x');
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::thread writer([&] {
        for (size_t at = 0; at < bytes.size();)
            at += static_cast<size_t>(::write(ends[1], &bytes[at], bytes.size() - at));
        ::close(ends[1]);
    });
    const std::string read = read_file(fmt::format("/dev/fd/{}", ends[0]));
    writer.join();
    ::close(ends[0]);
    REQUIRE(read == bytes);
    REQUIRE(::mkfifo((scratch / "pipe").c_str(), 0600) == 0); // nobody writes to it
    for (const std::string& path : {scratch / "pipe", scratch.path, std::string("/dev/null")})
        expect_error(error_of([&] { read_file(path); }), Exit::bad_data,
                     path + ": cannot be read: it is not a file but a folder, a pipe or a device; check the name");
    expect_error(error_of([&] { LogFile log(scratch / "pipe"); }), Exit::internal, "it is a pipe, which keeps nothing");
    expect_error(error_of([&] { write_file_atomically(scratch / "pipe", ""); }), Exit::internal,
                 "it is a folder or a device");
    write_file_atomically(scratch / "empty", "");
    REQUIRE(read_file(scratch / "empty").empty());
    expect_error(error_of([&] { read_file(scratch / "none"); }), Exit::bad_data, "none: cannot be read: No such file");
}

TEST_CASE("files: what a killed process left behind is neither used nor overwritten") {
    const Scratch scratch;
    const auto left = [&](int i) { return scratch / fmt::format("a.tmp-{}-{}", ::getpid(), i); };
    constexpr int many = 1000; // more than the files that this test program has written
    for (int i = 1; i <= many; ++i) LogFile(left(i)).line("left");
    write_file_atomically(scratch / "a", "new");
    REQUIRE(read_file(scratch / "a") == "new");
    int same = 0;
    for (int i = 1; i <= many; ++i) same += fs::exists(left(i)) && read_file(left(i)) == "left\n";
    REQUIRE(same == many);
}

TEST_CASE("files: what a killed process left of a file goes with the next that is written, if it is old") {
    const Scratch scratch;
    const pid_t gone = ended_process();
    const auto left = [&](const char* name, pid_t pid, int minutes) {
        const std::string path = scratch / fmt::format("{}.tmp-{}-{}", name, pid, minutes);
        LogFile(path).line("torn");
        fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(minutes));
        return path;
    };
    const std::string old = left("a.svg", gone, 61), young = left("a.svg", gone, 59),
                      living = left("a.svg", ::getpid(), 61), other = left("ba.svg", gone, 61);
    write_file_atomically(scratch / "a.svg", "new");
    CHECK_FALSE(fs::exists(old));
    for (const std::string& path : {young, living, other}) CHECK(fs::exists(path));
}

TEST_CASE("files: written through a link, to the file that it leads to, whose mode stays") {
    const Scratch scratch;
    fs::create_directory(scratch / "far");
    const auto mode = [](const std::string& path) {
        struct stat info {};
        REQUIRE(::stat(path.c_str(), &info) == 0);
        return info.st_mode & 0777;
    };
    write_file_atomically(scratch / "far/real", "old");
    REQUIRE(::chmod((scratch / "far/real").c_str(), 0640) == 0);
    fs::create_symlink("far/real", scratch / "link");
    fs::create_symlink(scratch / "link", scratch / "second");
    for (const char* name : {"link", "second", "far/real"}) {
        expect_writable(scratch / name);
        write_file_atomically(scratch / name, name);
        REQUIRE(read_file(scratch / "far/real") == name);
        REQUIRE(mode(scratch / "far/real") == 0640);
    }
    REQUIRE(fs::read_symlink(scratch / "link") == "far/real");
    REQUIRE(scratch.names() == std::set<std::string>{"far", "link", "second"});
    REQUIRE(std::distance(fs::directory_iterator(scratch / "far"), {}) == 1); // nothing temporary stayed

    fs::create_symlink("far/new", scratch / "dangling");
    write_file_atomically(scratch / "dangling", "made");
    REQUIRE(read_file(scratch / "far/new") == "made");
    fs::create_symlink("circle", scratch / "circle");
    expect_error(error_of([&] { write_file_atomically(scratch / "circle", ""); }), Exit::internal, "circle: cannot be");
    REQUIRE(fs::is_symlink(scratch / "circle"));
}

TEST_CASE("files: a folder that a killed process had just made is taken; its lock follows no link") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    fs::create_directory(folder);
    LogFile(folder + "/lock").sync();
    const pid_t gone = ended_process();
    const std::string left = folder + fmt::format("/config.toml.tmp-{}-4", gone),
                      living = folder + fmt::format("/x.tmp-{}-4", ::getpid());
    for (const std::string& path : {left, living}) LogFile(path).line("torn");
    make_output_folder(folder);
    const char* const others[] = {"checkpoint.tmp-1-x", "tmp-1-2", "a.tmp-1", "a.tmp--2", ".tmp-1-2", "b"};
    for (const char* name : others) {
        INFO(name);
        LogFile(folder + "/" + name).sync();
        expect_error(error_of([&] { make_output_folder(folder); }), Exit::usage, "already exists");
        {
            const FolderLock lock(folder);
            REQUIRE(lock.held());
            REQUIRE_FALSE(fs::exists(left));
            REQUIRE(fs::exists(living));
            REQUIRE(fs::exists(folder + "/" + name)); // not a file that the test wrote
        }
        fs::remove(folder + "/" + name);
    }
    fs::remove(folder + "/lock");
    fs::create_symlink(scratch / "elsewhere", folder + "/lock");
    expect_error(error_of([&] { FolderLock lock(folder); }), Exit::internal, "run/lock: is a symbolic link");
    REQUIRE_FALSE(FolderLock::held_by_another(folder));
    REQUIRE_FALSE(fs::exists(scratch / "elsewhere"));
}
