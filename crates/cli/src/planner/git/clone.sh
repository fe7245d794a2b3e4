# A clone, by whatever git the image has. Its settings are in the environment.
command -v git >/dev/null || { echo "there is no git in this image"; exit 127; }
[ -z "${PLUGIN_DEBUG:-}" ] || set -x
export GIT_TERMINAL_PROMPT=0
HOME=$(mktemp -d)
export HOME
trap 'rm -rf "$HOME"' EXIT
# A clone may be made by another user than the one who works in it later.
git config --global --add safe.directory '*'
git config --global advice.detachedHead false
if [ -n "${DRONE_NETRC_PASSWORD:-}" ]; then
    # The login is asked for through the environment: it is in no file and in no argument.
    git config --global credential.helper \
        '!f() { [ "$1" = get ] || exit 0; echo "username=$DRONE_NETRC_USERNAME"; echo "password=$DRONE_NETRC_PASSWORD"; }; f'
fi
if [ -n "${DRONE_SSH_KEY:-}" ]; then
    (umask 077; printf '%s\n' "$DRONE_SSH_KEY" >"$HOME/key")
    export GIT_SSH_COMMAND="ssh -i $HOME/key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"
fi
mkdir -p "$DRONE_WORKSPACE"
cd "$DRONE_WORKSPACE"
git init -q .
git remote add origin "$DRONE_REMOTE_URL" 2>/dev/null || git remote set-url origin "$DRONE_REMOTE_URL"
if [ -n "${PLUGIN_SPARSE_CHECKOUT:-}" ]; then
    git sparse-checkout init --cone
    printf '%s\n' "$PLUGIN_SPARSE_CHECKOUT" | git sparse-checkout set --stdin
fi
[ -z "${PLUGIN_PRE_FETCH:-}" ] || eval "$PLUGIN_PRE_FETCH"
set -- --no-tags
[ -z "${PLUGIN_FETCH_TAGS:-}" ] || set -- --tags
[ -z "${PLUGIN_DEPTH:-}" ] || set -- "$@" --depth "$PLUGIN_DEPTH"
if [ -n "${DRONE_TAG:-}" ]; then
    echo "cloning tag $DRONE_TAG of $DRONE_REMOTE_URL"
    git fetch -q "$@" origin "+refs/tags/$DRONE_TAG:refs/tags/$DRONE_TAG"
    git checkout -q "refs/tags/$DRONE_TAG"
elif [ -n "${DRONE_COMMIT_SHA:-}" ]; then
    echo "cloning commit $DRONE_COMMIT_SHA of $DRONE_REMOTE_URL"
    # Not every server gives a commit by its hash: then all branches are fetched.
    git fetch -q "$@" origin "$DRONE_COMMIT_SHA" 2>/dev/null || git fetch -q --tags origin
    git checkout -q "$DRONE_COMMIT_SHA"
elif [ -n "${DRONE_COMMIT_REF:-}" ]; then
    echo "cloning $DRONE_COMMIT_REF of $DRONE_REMOTE_URL"
    git fetch -q "$@" origin "$DRONE_COMMIT_REF"
    git checkout -q FETCH_HEAD
else
    branch=${DRONE_COMMIT_BRANCH:-HEAD}
    echo "cloning branch $branch of $DRONE_REMOTE_URL"
    if [ "$branch" = HEAD ]; then
        git fetch -q "$@" origin HEAD
        git checkout -q FETCH_HEAD
    else
        git fetch -q "$@" origin "+refs/heads/$branch:refs/remotes/origin/$branch"
        git checkout -q -B "$branch" "refs/remotes/origin/$branch"
    fi
fi
case ${PLUGIN_SUBMODULES:-false} in
true) git submodule update -q --init ;;
recursive) git submodule update -q --init --recursive ;;
esac
[ -z "${PLUGIN_LFS:-}" ] || git lfs pull
git log -1 --format='at %h: %s'
