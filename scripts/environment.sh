# Sourced by the scripts that run the generator, from the project's root: takes their lock, makes their environment
# (.venv-generator) where it is missing, and puts it first on the PATH. Wants $program, the name for messages, and fail.
unset PYTHONPATH PYTHONHOME PYTHONWARNINGS
export PYTHONSAFEPATH=1 PYTHONUTF8=1 LC_ALL=C.UTF-8

. scripts/make_venv.sh
find_python

# One run at a time: a second one waits here, and the lock ends with the process.
# A run inside a run has its lock.
"$python" -c 'import os, sys; sys.exit(not os.path.sameopenfile(9, os.open("openapi", os.O_RDONLY)))' 2> /dev/null || exec 9< openapi
"$python" -c 'import fcntl, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); fcntl.flock(9, fcntl.LOCK_EX)'

environment=$PWD/.venv-generator
stamp=$environment/made-from.txt
if ! cmp -s requirements/generator.txt "$stamp" || ! "$environment/bin/python" -c '' 2> /dev/null; then
  echo "$program: making the generator's environment ($environment)"
  rm -rf "$environment"
  make_venv "$environment"
  (install_pinned "$environment" requirements/generator.txt) || { rm -rf "$environment"; exit 1; }
  cp requirements/generator.txt "$stamp"
fi
PATH=$environment/bin:$PATH
