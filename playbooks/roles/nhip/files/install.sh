# sh -euc … sh FOLDER WHEELHOUSE PURPOSE <requirements: a virtual environment in FOLDER, marked once it is whole.
umask 022
folder=$1 wheelhouse=$2 purpose=$3
host=${wheelhouse#*//} host=${host%%[:/]*}
pip=$(echo /usr/share/python-wheels/pip-*.whl)
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
cat >"$requirements"
[ -x "$folder/bin/python" ] || python3 -m venv --without-pip "$folder"
python3 "$pip/pip" --python "$folder/bin/python" install --quiet --quiet --no-input --disable-pip-version-check \
    --no-cache-dir --no-index --require-hashes --only-binary=:all: --find-links "$wheelhouse" --trusted-host "$host" \
    --retries 5 --timeout 30 -r "$requirements"
"$folder/bin/nhip" --help >/dev/null
touch "$folder/.installed-$purpose"
sync -f "$folder"
