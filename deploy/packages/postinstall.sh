#!/bin/sh
# After the files of a deb or rpm are there: the account, its folder, and a new binary for a service that runs.
set -e

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/oncesink.conf
elif ! getent passwd oncesink >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin oncesink
fi
chown root:oncesink /etc/oncesink
chmod 0750 /etc/oncesink

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # Not started or enabled by the package: there is no configuration yet.
    systemctl try-restart oncesink.service
fi
