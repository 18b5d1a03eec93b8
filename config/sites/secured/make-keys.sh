#!/bin/sh
# Makes what mosquitto.conf names: an authority, the broker's certificate for HOST, and one password
# per user of acl.conf (in clear in USER.password, hashed in `passwords`). Usage: sh make-keys.sh HOST
set -eu
umask 077
host=${1:?usage: sh make-keys.sh HOST (name or address under which the broker is reached)}
cd "$(dirname "$0")"
case $host in
*[!0-9.]*) name="DNS:$host" ;;
*) name="IP:$host" ;;
esac
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $key -keyout ca.key -out ca.crt -days 3650 -subj "/CN=guidance site authority" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
openssl req $key -keyout broker.key -out broker.csr -subj "/CN=$host" 2>/dev/null
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$name" >broker.ext
openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile broker.ext \
    -out broker.crt 2>/dev/null
rm broker.csr broker.ext
: >passwords
for user in $(sed -n 's/^user //p' acl.conf); do
    openssl rand -hex 24 >"$user.password"
    echo "$user:$(cat "$user.password")" >>passwords
done
mosquitto_passwd -U passwords
echo "made for $host: ca.crt for every client, broker.crt and broker.key for the broker, *.password for its users"
