# make            release build, build/pangea        make check    everything that is tested, one sum at the end
# make deps       Debian packages and Kafka          make check SAN=address,undefined | SAN=thread
# make demo       three regions on this machine      make soak|storm SECONDS=600 [SEED=1]
# make simulation random histories of the conflict core, a minute; make simulation-long RUNS=2000000 SEED=1
# make mutation   deliberate mistakes in it, which the tests must notice
# make micro      instructions of the hot paths, held against the recorded ones (UPDATE=1 records them)
# make lint       direction of includes, analysers   make fmt      clang-format
# make install DESTDIR= PREFIX=/usr/local            make man      manual pages and completions, build/man
# make bench      measured beside others; QUICK=1: under five minutes
# make regions growth recovery memory   more receivers, larger sizes, kill -9, memory over time; bench/README.md has all
# make clean      all but .cache
# make deb           a Debian package               make deb-check  installs and runs it in a fresh Debian
# make image         a container image           make image-check
# V=1 shows the whole commands.
# One part of the tests: make test && tests/run.py types (see tests/README.md).

MAKEFLAGS += --no-builtin-rules
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j2
endif
.SUFFIXES:
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
CC = gcc
AR = gcc-ar
SAN ?=
SECONDS ?= 600
BENCH_SECONDS ?= 60
SEED ?= 1

DIRS = base change postgres kafka config topology conflict capture apply daemon
SOURCES := $(wildcard $(DIRS:%=%/*.c))
SQL := $(wildcard $(DIRS:%=%/*.sql))
GENERATED := $(foreach f,$(SQL),build/gen/$(subst /,_,$(f:.sql=))_sql.h) build/gen/ui_page.h

PACKAGES = libpq rdkafka yaml-0.1 jansson libxxhash libisal libmicrohttpd libsystemd gmp
CPPFLAGS = -I. -Ibuild -Ibuild/gen -D_GNU_SOURCE $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
WARN = -Wall -Wextra -Wshadow -Wswitch-enum -Wstrict-prototypes -Wconversion -Wvla -Wformat=2 -Werror
CFLAGS = -std=c11 $(WARN) -g -pthread -MMD -MP
LDLIBS = -lpq -lrdkafka -lyaml -ljansson -lxxhash -lisal -lmicrohttpd -lsystemd -lgmp -lpthread -lm

# The release is hardened; the test build has failpoints, and is what `make check` runs.
HARDEN = -O2 -D_FORTIFY_SOURCE=2 -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection
HARDEN_LD = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
TEST = $(if $(SAN),build/test-$(subst $(comma),-,$(SAN)),build/test)
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined))
TESTFLAGS = $(if $(SAN),-O1,-O2) -DPANGEA_FAILPOINTS $(SANFLAGS)
comma = ,

Q = $(if $(V),,@echo "  $@";)

UNIT := $(patsubst tests/%.c,$(TEST)/%,$(wildcard tests/unit/test_*.c tests/integration/*.c))
SIM := $(patsubst tests/simulation/%.c,$(TEST)/sim/%.o,$(wildcard tests/simulation/*.c))
FUZZ := $(patsubst tests/%.c,$(TEST)/%,$(wildcard tests/fuzz/fuzz_*.c))

all: build/pangea

# ---- build ---------------------------------------------------------------------------------------------------------------------------
build/pangea: $(SOURCES:%.c=build/release/%.o)
	$(Q)$(CC) $(HARDEN_LD) -pthread -o $@ $^ $(LDLIBS) $(LDFLAGS)

build/release/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(HARDEN) -c -o $@ $<

# the whole archive: two functions of one name must not link
$(TEST)/pangea: $(TEST)/daemon/main.o $(TEST)/libpangea.a
	$(Q)$(CC) $(SANFLAGS) -pthread -o $@ -Wl,--whole-archive $^ -Wl,--no-whole-archive $(LDLIBS) $(LDFLAGS)

$(TEST)/libpangea.a: $(patsubst %.c,$(TEST)/%.o,$(filter-out daemon/main.c,$(SOURCES)))
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(TEST)/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(TESTFLAGS) -c -o $@ $<

$(UNIT): $(TEST)/%: tests/%.c $(TEST)/libpangea.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(TESTFLAGS) -o $@ $< $(TEST)/libpangea.a $(LDLIBS) -lcmocka $(LDFLAGS)

$(FUZZ): $(TEST)/%: tests/%.c $(TEST)/libpangea.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(TESTFLAGS) -DFUZZ_STANDALONE -o $@ $< $(TEST)/libpangea.a $(LDLIBS) $(LDFLAGS)

$(TEST)/sim/%.o: tests/simulation/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(TESTFLAGS) -c -o $@ $<

$(TEST)/simulation: $(SIM) $(TEST)/libpangea.a
	$(Q)$(CC) $(SANFLAGS) -pthread -o $@ $^ $(LDLIBS) $(LDFLAGS)

# x/y.sql -> build/gen/x_y_sql.h: static const char x_y_sql[]
define embed
build/gen/$(subst /,_,$(1:.sql=))_sql.h: $(1)
	@mkdir -p build/gen
	@{ echo "/* from $(1) */"; echo "static const char $(subst /,_,$(1:.sql=))_sql[] ="; \
	  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/        "/' -e 's/$$$$/\\n"/' $(1); echo ";"; } > $$@
endef
$(foreach f,$(SQL),$(eval $(call embed,$(f))))

# the page, with its style and script
build/gen/ui_page.h: ui/index.html ui/style.css ui/page.js ui/embed.sh
	@mkdir -p build/gen
	@ui/embed.sh $@

-include $(MICRO_OBJECTS:.o=.d) $(SOURCES:%.c=build/release/%.d) $(SOURCES:%.c=$(TEST)/%.d) $(UNIT:%=%.d) $(FUZZ:%=%.d) $(SIM:.o=.d)

# What ships is counted: release objects, all but the daemon's. The session that the agents write to is the bench's own.
MICRO = build/micro/micro
MICRO_WRAP = $(addprefix -Wl$(comma)--wrap=,session_send session_query session_sync pgres_affected catalog_map)
MICRO_OBJECTS := $(patsubst bench/%.c,build/%.o,$(wildcard bench/micro/*.c))

build/micro/%.o: bench/micro/%.c | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(HARDEN) -c -o $@ $<

build/micro/libpangea.a: $(patsubst %.c,build/release/%.o,$(filter-out daemon/%,$(SOURCES)))
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(MICRO): $(MICRO_OBJECTS) build/micro/libpangea.a
	$(Q)$(CC) $(HARDEN_LD) $(MICRO_WRAP) -pthread -o $@ $^ $(LDLIBS) $(LDFLAGS)

# ---- test ----------------------------------------------------------------------------------------------------------------------------
deps:
	@scripts/deps.sh

# the example of a plug-in that settles conflicts
plugin: build/longest.so
build/longest.so: deploy/examples/plugin/longest.c conflict/plugin.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(WARN) -O2 -fPIC -shared -I. -DPANGEA_IN_TREE -o $@ $<

# a disk that can be full and a clock that can be set, for the servers of a test: never instrumented
$(TEST)/harness/%.so: tests/harness/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -MMD -MP,$(CFLAGS)) -O2 -fPIC -shared -o $@ $< -ldl

test: $(TEST)/pangea $(TEST)/simulation $(UNIT) $(FUZZ) build/longest.so $(TEST)/harness/full.so $(TEST)/harness/clock.so $(if $(SAN),,$(MICRO))

check: deps
	@$(MAKE) --no-print-directory SAN=$(SAN) test
	@tests/run.py --build $(TEST)

soak: deps
	@$(MAKE) --no-print-directory SAN=$(SAN) test
	@tests/soak.py --build $(TEST) --seconds $(SECONDS) --seed $(SEED)

# random histories of all rules against the oracle: about a minute; make simulation-long RUNS=5000000
.PHONY: 
.PHONY: simulation simulation-long mutation
RUNS ?= 2000000
simulation: $(TEST)/simulation
	@$(TEST)/simulation --seconds 60 --seed $(shell date +%s)
simulation-long: $(TEST)/simulation
	@$(TEST)/simulation --runs $(RUNS) --seed $(SEED)
	@$(TEST)/simulation --exhaustive $(RUNS) --seed $(SEED)

# deliberate mistakes in the conflict core and in what apply decides: each must be noticed
mutation: test
	@tests/mutation/mutate.py

storm: deps
	@$(MAKE) --no-print-directory SAN=$(SAN) test
	@tests/storm.py --build $(TEST) --seconds $(SECONDS) --seed $(SEED) $(if $(KILLS),--kills $(KILLS))

# instructions of the hot paths, against the recorded figures; UPDATE=1 records them anew: bench/micro/README.md
micro: deps
	@$(MAKE) --no-print-directory SAN= $(MICRO)
	@UPDATE=$(UPDATE) bench/micro/micro.py --print

# Pangea beside others: bench/README.md; QUICK=1: under five minutes, WORKS=W1,W3 only these; DEBEZIUM=0|1 (1 without QUICK). What fails
# leaves the others, the page is made of what counts, and the exit code tells
COMPARE := --blocks $(or $(BLOCKS),5) $(if $(WORKS),--works $(WORKS)) $(if $(LIMIT),--limit $(LIMIT))
COMPARE_QUICK := --quick 1 --limit 270 --blocks $(or $(BLOCKS),2) --works $(or $(WORKS),W1$(comma)W3$(comma)W4)
bench: deps
	@$(MAKE) --no-print-directory build/pangea
	@mkdir -p build/bench && rm -rf build/bench/*.jsonl
	@code=0; bench/compare.py $(if $(QUICK),$(COMPARE_QUICK),$(COMPARE)) $(if $(ROWS),--rows $(ROWS)) $(if $(SCALE),--scale $(SCALE)) \
	  --debezium $(or $(DEBEZIUM),$(if $(QUICK),0,1)) --out build/bench/compare.jsonl || code=1; \
	if [ -z "$(QUICK)" ]; then \
	  bench/conflicts.py --blocks $(or $(BLOCKS),5) --out build/bench/conflicts.jsonl || code=1; \
	  for r in 100 500 2000; do bench/latency.py --rate $$r --out build/bench/latency.jsonl || code=1; done; \
	  bench/cost.py --blocks $(or $(BLOCKS),5) --out build/bench/cost.jsonl || code=1; \
	fi; \
	bench/report.py build/bench --out $(or $(REPORT),$(if $(QUICK),build/bench/performance.md,docs/performance.md)) && exit $$code

# figures on this machine, each with the servers it needs: bench/README.md.
memory: BENCH_SECONDS = 120
tpcb latency big conflicts regions growth recovery memory: deps
	@$(MAKE) --no-print-directory build/pangea
	@bench/$@.py $(if $(ROWS),--rows $(ROWS)) $(if $(RATE),--rate $(RATE)) $(if $(filter tpcb latency memory,$@),--seconds $(BENCH_SECONDS)) \
	  $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(SCALE),--scale $(SCALE)) $(if $(DELTA),--delta 1) $(if $(DAEMON_KILLS),--kills $(DAEMON_KILLS)) \
	  $(if $(RULE),--rule $(RULE)) $(if $(and $(filter regions growth,$@),$(BLOCKS)),--blocks $(BLOCKS)) $(if $(CURVES),--curves $(CURVES)) \
	  $(if $(and $(filter recovery,$@),$(KILLS)),--kills $(KILLS)) $(if $(and $(filter memory,$@),$(WORKS)),--works $(WORKS))

demo: deps
	@$(MAKE) --no-print-directory build/pangea
	@scripts/demo.py

lint: $(GENERATED)
	@scripts/lint.sh

fmt:
	@clang-format -i $(wildcard $(DIRS:%=%/*.[ch]) tests/*/*.[ch] bench/micro/*.[ch])

# Manual pages and completions are printed by the program itself.
man: build/pangea
	@rm -rf build/man && mkdir -p build/man/man1 build/man/completion
	@build/pangea help --man >build/man/man1/pangea.1
	@for c in $$(build/pangea help | sed -n 's/^  \([a-z][a-z]*\)  *.*/\1/p'); do \
	  build/pangea help $$c --man >build/man/man1/pangea-$$c.1 || exit 1; done
	@for s in bash zsh fish; do build/pangea completion $$s >build/man/completion/$$s || exit 1; done

install: build/pangea man
	install -D -m 755 build/pangea $(DESTDIR)$(PREFIX)/bin/pangea
	install -D -m 644 conflict/plugin.h $(DESTDIR)$(PREFIX)/include/pangea/plugin.h
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 build/man/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 build/man/completion/bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pangea
	install -D -m 644 build/man/completion/zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_pangea
	install -D -m 644 build/man/completion/fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pangea.fish

# build/deb/pangea_VERSION_ARCH.deb; deb-check installs it into a fresh Debian and runs it there (root, the network, two minutes)
deb: deps
	@scripts/deb.sh

deb-check: deb
	@$(MAKE) --no-print-directory test
	@tests/deb_check.py

# build/image/pangea.tar, by buildah; BASE=debootstrap where no registry can be reached. image-check runs what is in it (root).
image: deps
	@BASE=$(BASE) scripts/image.sh

image-check: deps
	@$(MAKE) --no-print-directory test
	@BASE=debootstrap scripts/image.sh
	@tests/image_check.py

clean:
	rm -rf build

.PHONY: all deps plugin test check micro soak storm bench tpcb latency big conflicts regions growth recovery memory demo lint fmt man install deb deb-check image image-check clean
