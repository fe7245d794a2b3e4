# Downloads the manifests of a service, all side by side; its first argument is the script of a clone. What there is to do is in the
# environment: MANIFESTS, and of each from 1 M1_NAME with the variables of a clone (M1_DRONE_REMOTE_URL, …), or with M1_FILES and
# M1_1_PATH, M1_1_CONTENT (base64), ….
set -eu
clone=$1

value() {
  eval "printf '%s' \"\${$1-}\""
}

one() {
  files=$(value "M$1_FILES")
  if [ -n "$files" ]; then
    at=1
    while [ "$at" -le "$files" ]; do
      path=$(value "M$1_${at}_PATH")
      mkdir -p "$(dirname "$path")"
      value "M$1_${at}_CONTENT" | base64 -d > "$path"
      echo "wrote $path"
      at=$((at + 1))
    done
    return
  fi
  unset DRONE_COMMIT_BRANCH DRONE_TAG DRONE_BUILD_EVENT DRONE_COMMIT_REF DRONE_COMMIT_SHA
  for name in DRONE_REMOTE_URL DRONE_WORKSPACE DRONE_COMMIT_BRANCH DRONE_COMMIT_SHA DRONE_NETRC_MACHINE DRONE_NETRC_USERNAME \
    DRONE_NETRC_PASSWORD DRONE_SSH_KEY PLUGIN_DEPTH GIT_SSL_NO_VERIFY; do
    # The names are ours; the values are never looked into.
    eval "if [ -n \"\${M$1_$name+x}\" ]; then $name=\"\$M$1_$name\"; export $name; fi"
  done
  sh -c "$clone"
}

at=1
running=
while [ "$at" -le "$MANIFESTS" ]; do
  one "$at" &
  running="$running $!"
  at=$((at + 1))
done
at=1
failed=
for process in $running; do
  wait "$process" || failed="$failed $(value "M${at}_NAME")"
  at=$((at + 1))
done
if [ -n "$failed" ]; then
  echo "manifests that could not be downloaded:$failed" >&2
  exit 1
fi
