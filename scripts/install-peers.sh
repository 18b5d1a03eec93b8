#!/bin/sh
# Real servers and peers that tests talk to: mosquitto, chromium, the C++ OpenIGTLink examples.
# Installs what is missing when it can (root and apt); otherwise says so, and those tests skip.
set -u
cd "$(dirname "$0")/.."
need=""
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || need="$need mosquitto"
command -v mosquitto_sub >/dev/null 2>&1 || need="$need mosquitto-clients"
command -v chromium >/dev/null 2>&1 || need="$need chromium"
[ -d /usr/share/doc/openigtlink-examples ] || need="$need libopenigtlink-dev openigtlink-examples"
command -v cmake >/dev/null 2>&1 || need="$need cmake"
command -v c++ >/dev/null 2>&1 || need="$need g++"
if [ -n "$need" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null ||
            echo "peers: could not install$need; the tests that need them will skip" >&2
    else
        echo "peers: not root or no apt; missing:$need; the tests that need them will skip" >&2
    fi
fi
# The 35 C++ examples, built once outside the source tree of the package.
if [ -d /usr/share/doc/openigtlink-examples/examples ] && [ ! -f .peers/igtl/.done ] && command -v cmake >/dev/null 2>&1; then
    rm -rf .peers/igtl && mkdir -p .peers/igtl/src &&
        cp -r /usr/share/doc/openigtlink-examples/examples/. .peers/igtl/src/ &&
        find .peers/igtl/src -name '*.gz' -exec gunzip -f {} + &&
        cmake -S .peers/igtl/src -B .peers/igtl/build -DCMAKE_BUILD_TYPE=Release >.peers/igtl/log 2>&1 &&
        cmake --build .peers/igtl/build -j2 >>.peers/igtl/log 2>&1 &&
        touch .peers/igtl/.done ||
        { echo "peers: the C++ OpenIGTLink examples did not build (see .peers/igtl/log)" >&2; }
fi
exit 0
