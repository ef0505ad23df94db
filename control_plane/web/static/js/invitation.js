// The token of an invitation stands behind the # of its address: browsers send that to no server.
const field = document.querySelector("[name=token]");
if (location.hash) field.value = location.hash.slice(1);
