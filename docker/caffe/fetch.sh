#!/bin/sh
# fetch.sh URL COMMIT FOLDER: check out one commit (or branch, or tag) of a git repository, with no
# history if the server can do that. URL may be anything that git reads, a folder as well.
set -eu
url=$1 commit=$2 folder=$3
# A mirror that is mounted belongs to somebody else; git must not mind, here and now.
GIT_CONFIG_GLOBAL=$(mktemp)
export GIT_CONFIG_GLOBAL
git config --global safe.directory '*'
git init --quiet --initial-branch=none-of-the-mirror "$folder"
cd "$folder"
git remote add origin "$url"
if git fetch --quiet --depth 1 origin "$commit"; then
    found=FETCH_HEAD
else
    echo "fetch.sh: $url does not give a single commit; fetching all it has" >&2
    git fetch --quiet origin '+refs/*:refs/*' || {
        echo "fetch.sh: error: $url is no git repository that can be read from here" >&2
        exit 1
    }
    found=$commit
fi
if ! git checkout --quiet --detach "$found"; then
    echo "fetch.sh: error: $url has no commit $commit" >&2
    exit 1
fi
git log -1 --format='fetch.sh: %H of %cs: %s' >&2
rm -rf .git
