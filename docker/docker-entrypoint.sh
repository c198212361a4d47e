#!/bin/sh
# Starts what the container is for: the server by default, or a tool. Started as root, it gives the data folder to the user rabbitmq
# and becomes that user.
set -eu

# Flags alone are the server's.
case ${1-} in
  '' | -*) set -- leveret server "$@" ;;
esac

case $1 in
  rabbitmq* | leveret)
    if [ "$(id -u)" = 0 ]; then
      if [ "$1" = rabbitmq-server ] || [ "$1" = leveret ]; then
        find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq '{}' +
      fi
      # Both leave no process in between, which signals would have to pass. (The su of Debian would; it has setpriv.)
      if setpriv --help 2>&1 | grep -q -- --reuid; then
        exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups -- "$0" "$@"
      fi
      exec su -m -s /bin/sh rabbitmq -c 'exec "$@"' sh "$0" "$@"
    fi
    ;;
esac

case $1 in
  # A volume may begin empty. If this fails the server says why.
  rabbitmq-server | leveret) mkdir -p "${RABBITMQ_MNESIA_DIR:-${RABBITMQ_MNESIA_BASE:-/var/lib/rabbitmq}}" 2>/dev/null || true ;;
esac
exec "$@"
